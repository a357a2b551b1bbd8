"""One recipe for every differentiation strategy of DeepAFx-ST, and for the proxies that some need.

``deepafx_STRATEGY_speech`` (and ``_music``) are the rows of the paper's tables: its network, data,
loss and schedule; only the strategy differs. ``compact_STRATEGY_speech`` is the same comparison for
small machines: the compact network with one prediction, its chain, and networks of 16 channels
in the effect's place where the paper's have 64. ``np``, ``np_hh`` and ``np_fh`` need
proxies that were trained first, with the recipes ``proxy_equalizer`` and ``proxy_compressor``, into
``runs/proxy_equalizer`` and ``runs/proxy_compressor``.

``recipes.deviations`` lists where they differ from the paper.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from retone.dsp.effect import Effect
from retone.effects import MATCH_CHAIN, PAPER_CHAIN
from retone.effects.chain import Chain
from retone.losses import L1, MultiResolutionSTFT, WeightedSum
from retone.nets.aligned import AlignedNetConfig
from retone.nets.proxy import GivenConfig, TcnSizes
from retone.training.data.pairs import PairMaker
from retone.training.data.proxy_pairs import ProxyMaker
from retone.training.gradients import EndToEnd, Exact, FrequencySampled, Gradient, NeuralProxy, Spsa
from retone.training.recipes.compact import compact_speech
from retone.training.recipes.deepafx import EPOCHS, EXAMPLES_PER_EPOCH, SAMPLE_RATE, deepafx_speech
from retone.training.recipes.recipe import Optimizer, Recipe

COMPACT = TcnSizes(channels=16, identity=True)
SPSA_LEARNING_RATE = 1e-5
PROXY_BATCH = 16

Make = Callable[[], Recipe]


def proxy_files(chain: Chain, *, compact: bool = False, kind: str = "speech") -> tuple[str, ...]:
    """Paths of the proxy recipes' best weights, if their run folders are ``runs/RECIPE``."""
    return tuple(
        f"runs/{_proxy_name(member, compact, kind)}/best.safetensors" for member in chain.members
    )


def strategies(chain: Chain, *, compact: bool, kind: str = "speech") -> dict[str, Gradient]:
    """Every strategy by its name, which recipes, commands and reports use."""
    sizes = COMPACT if compact else TcnSizes()
    files = proxy_files(chain, compact=compact, kind=kind)
    return {
        "exact": Exact(),
        "frequency_sampled": FrequencySampled(),
        "spsa": Spsa.paper(),
        "spsa_improved": Spsa(),
        "np": NeuralProxy("np", files, sizes),
        "np_hh": NeuralProxy("np_hh", files, sizes),
        "np_fh": NeuralProxy("np_fh", files, sizes),
        "ctcn1": EndToEnd("ctcn1", False, sizes),
        "ctcn2": EndToEnd("ctcn2", True, sizes),
    }


def _paper(strategy: str, kind: str) -> Recipe:
    gradient = strategies(PAPER_CHAIN, compact=False, kind=kind)[strategy]
    recipe = replace(
        deepafx_speech(), name=f"deepafx_{strategy}_{kind}", kind=kind, gradient=gradient
    )
    if strategy != "spsa":
        return recipe
    return replace(recipe, optimizer=replace(recipe.optimizer, learning_rate=SPSA_LEARNING_RATE))


def _compact(strategy: str) -> Recipe:
    gradient = strategies(MATCH_CHAIN, compact=True)[strategy]
    r = compact_speech()
    n = r.network
    assert isinstance(r.pairs, PairMaker)
    return replace(
        r,
        name=f"compact_{strategy}_speech",
        pairs=replace(r.pairs, leveled_probability=0.0),
        network=AlignedNetConfig(outputs=n.outputs, front_end=n.front_end, initial=n.initial),
        gradient=gradient,
    )


def _proxy_name(effect: Effect, compact: bool, kind: str) -> str:
    music = "" if kind == "speech" else f"_{kind}"
    return f"proxy{'_compact' if compact else ''}_{effect.name}{music}"


def proxy(effect: Effect, *, compact: bool = False, kind: str = "speech") -> Recipe:
    """A network that is trained to imitate one effect, from clips and random settings."""
    recipe = Recipe(
        name=_proxy_name(effect, compact, kind),
        kind=kind,
        pairs=ProxyMaker(sample_rate=SAMPLE_RATE, effect=effect),
        effect=effect,
        network=GivenConfig(len(effect.params)),
        gradient=EndToEnd("proxy", True),
        loss=WeightedSum((MultiResolutionSTFT(), L1()), (1.0, 100.0)),
        optimizer=Optimizer(learning_rate=3e-4, clip_norm=10.0),
        batch_size=PROXY_BATCH,
        steps=EPOCHS * EXAMPLES_PER_EPOCH // PROXY_BATCH,
        validation_pairs=200,
        validate_every=EXAMPLES_PER_EPOCH // PROXY_BATCH,
    )
    if not compact:
        return recipe
    return replace(
        recipe,
        pairs=replace(recipe.pairs, length=24576),
        gradient=EndToEnd("proxy", True, COMPACT),
        loss=WeightedSum((MultiResolutionSTFT((128, 512, 2048, 8192)), L1()), (1.0, 25.0)),
        optimizer=Optimizer(learning_rate=2e-3, warmup_steps=50, cosine=True, clip_norm=10.0),
        batch_size=8,
        steps=4000,
        validation_pairs=64,
        validate_every=200,
    )


def proxy_recipes(*, compact: bool) -> tuple[Recipe, ...]:
    """The recipes of the proxies that np and np_fh need, in the chain's order."""
    chain = MATCH_CHAIN if compact else PAPER_CHAIN
    return tuple(proxy(member, compact=compact) for member in chain.members)


def _named(name: str, text: str, make: Make) -> Make:
    make.__name__, make.__doc__ = name, text
    return make


def _all() -> tuple[Make, ...]:
    found: list[Make] = []
    for strategy, gradient in strategies(PAPER_CHAIN, compact=False).items():
        c = gradient.contract
        text = f"forward {c.training_forward}, backward {c.training_backward}, then {c.inference}."
        for kind in ("speech", "music"):
            if strategy not in ("exact", "frequency_sampled"):  # they are in recipes.deepafx
                found.append(
                    _named(
                        f"deepafx_{strategy}_{kind}",
                        f"The paper's recipe with {strategy}: {text}",
                        lambda strategy=strategy, kind=kind: _paper(strategy, kind),  # type: ignore[misc]
                    )
                )
        found.append(
            _named(
                f"compact_{strategy}_speech",
                f"The compact recipe with {strategy}: {text}",
                lambda strategy=strategy: _compact(strategy),  # type: ignore[misc]
            )
        )
    for compact, kind in ((False, "speech"), (False, "music"), (True, "speech")):
        for effect in (MATCH_CHAIN if compact else PAPER_CHAIN).members:
            found.append(
                _named(
                    _proxy_name(effect, compact, kind),
                    f"A network that imitates the {effect.name}, for np, np_hh and np_fh.",
                    lambda e=effect, c=compact, k=kind: proxy(e, compact=c, kind=k),  # type: ignore[misc]
                )
            )
    return tuple(found)


NAMES = tuple(strategies(PAPER_CHAIN, compact=False))
"""Names of the strategies."""
ALL: tuple[Make, ...] = _all()
