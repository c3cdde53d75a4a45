/** SHA-256 in hexadecimal: the browser's own, or, on a page without https, where it has none, ours (FIPS 180-4). */
export async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = globalThis.crypto?.subtle
    ? new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as BufferSource))
    : plainSha256(bytes);
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function plainSha256(bytes: Uint8Array): Uint8Array {
  const constants = rootFractions(64, 3);
  const hash = rootFractions(8, 2);
  const padded = new Uint8Array(((bytes.length + 8) >> 6) * 64 + 64);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setBigUint64(padded.length - 8, BigInt(bytes.length) * 8n);
  const words = new Uint32Array(64);
  const turned = (word: number, by: number) => (word >>> by) | (word << (32 - by));
  for (let block = 0; block < padded.length; block += 64) {
    for (let t = 0; t < 16; t++) words[t] = view.getUint32(block + 4 * t);
    for (let t = 16; t < 64; t++) {
      const [early, late] = [words[t - 15], words[t - 2]];
      const s0 = turned(early, 7) ^ turned(early, 18) ^ (early >>> 3);
      const s1 = turned(late, 17) ^ turned(late, 19) ^ (late >>> 10);
      words[t] = words[t - 16] + s0 + words[t - 7] + s1;
    }
    let [a, b, c, d, e, f, g, h] = hash;
    for (let t = 0; t < 64; t++) {
      const t1 = (h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & f) ^ (~e & g)) + constants[t] + words[t]) | 0;
      const t2 = ((turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((word, index) => (hash[index] += word));
  }
  const digest = new DataView(new ArrayBuffer(32));
  hash.forEach((word, index) => digest.setUint32(4 * index, word));
  return new Uint8Array(digest.buffer);
}

/** The first 32 bits of the fractions of the first primes' roots: whole numbers, so that no rounding is in them. */
function rootFractions(count: number, degree: 2 | 3): Uint32Array {
  const words = new Uint32Array(count);
  for (let prime = 2, found = 0; found < count; prime++) {
    if (Array.from({ length: prime - 2 }, (_, index) => index + 2).some((divisor) => prime % divisor === 0)) continue;
    const scaled = BigInt(prime) << BigInt(32 * degree);
    let root = 0n; // the largest whole number whose power is at most `scaled`, bit by bit
    for (let bit = 40n; bit >= 0n; bit--) if ((root | (1n << bit)) ** BigInt(degree) <= scaled) root |= 1n << bit;
    words[found++] = Number(root & 0xffffffffn);
  }
  return words;
}
