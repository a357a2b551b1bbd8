// Recording from the microphone, without the browser's own processing, as a WAV file.

export async function record() {
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  const context = new AudioContext();
  await context.audioWorklet.addModule("/static/recorder.js");
  const node = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
  const blocks = [];
  node.port.onmessage = (e) => blocks.push(e.data);
  context.createMediaStreamSource(stream).connect(node);
  return async () => {
    stream.getTracks().forEach((t) => t.stop());
    await context.close();
    return wav(blocks, context.sampleRate);
  };
}

function wav(blocks, rate) {
  const count = blocks.reduce((n, b) => n + b.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 4 * count));
  const word = (at, text) => [...text].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  word(0, "RIFF"); view.setUint32(4, 36 + 4 * count, true); word(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 3, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, 4 * rate, true);
  view.setUint16(32, 4, true); view.setUint16(34, 32, true); word(36, "data");
  view.setUint32(40, 4 * count, true);
  let at = 44;
  for (const b of blocks) for (const v of b) { view.setFloat32(at, v, true); at += 4; }
  return new Blob([view.buffer], { type: "audio/wav" });
}
