// A parameter's range as a slider sees it, from its own table: linear, log, or slope (ratios).

const slope = (v) => 1 - 1 / v;

export function toUnit(p, value) {
  if (p.scale === "log") return Math.log(value / p.low) / Math.log(p.high / p.low);
  if (p.scale === "slope") return (slope(value) - slope(p.low)) / (slope(p.high) - slope(p.low));
  return (value - p.low) / (p.high - p.low);
}

export function toValue(p, unit) {
  const t = Math.min(1, Math.max(0, unit));
  let v;
  if (p.scale === "log") v = p.low * (p.high / p.low) ** t;
  else if (p.scale === "slope") v = 1 / (1 - (slope(p.low) + t * (slope(p.high) - slope(p.low))));
  else v = p.low + t * (p.high - p.low);
  return tidy(p, v);
}

// From the neutral value (amount 0) to the value (amount 1), as Param.blend.
export function scaled(p, value, amount) {
  if (p.neutral === null) return value;
  if (p.scale !== "slope") return amount * value + (1 - amount) * p.neutral;
  return 1 / (1 - (amount * slope(value) + (1 - amount) * slope(p.neutral)));
}

export function tidy(p, value) {
  let v = value;
  if (p.unit === "dB") v = Math.round(v * 100) / 100;
  else if (v !== 0) v = Number(v.toPrecision(p.unit === "Hz" || p.unit === ":1" ? 4 : 3));
  return Math.min(p.high, Math.max(p.low, v));
}

export function shown(p, value) {
  if (p.unit === "dB") return value.toFixed(1);
  if (Math.abs(value) >= 100) return value.toFixed(0);
  if (Math.abs(value) >= 10) return value.toFixed(1);
  return value.toFixed(2);
}

export function hertz(f) {
  if (f < 1000) return `${Math.round(f)} Hz`;
  return `${(f / 1000).toFixed(f < 9950 ? 1 : 0)} kHz`;
}

export function clock(seconds) {
  const s = Math.max(0, seconds);
  const whole = Math.floor(s / 60), hours = Math.floor(whole / 60);
  const minutes = hours ? `${hours}:${String(whole % 60).padStart(2, "0")}` : whole;
  return `${minutes}:${(s - 60 * whole).toFixed(1).padStart(4, "0")}`;
}
