// The lids of docs/bundle.md: the packed texture with each eye's piece of a pose laid in, and which pieces those are.
const apart = (pose, a, b) => Math.hypot(pose[2 * a] - pose[2 * b], pose[2 * a + 1] - pose[2 * b + 1]);

function opening(pose, first) { // of the eye whose six landmarks begin there: about 0.3
  const lids = apart(pose, first + 1, first + 5) + apart(pose, first + 2, first + 4);
  return Math.min(lids / Math.max(2 * apart(pose, first, first + 3), 1e-12), 10);
}

export function piecesOf(levels, source, pose) { // of each eye, counted from 1; 0: none
  return [36, 42].map((first) => {
    const ratio = opening(pose, first) / Math.max(opening(source, first), 1e-6);
    return Math.round(Math.min(Math.max((0.85 - ratio) / 0.55, 0), 1) * levels);
  });
}

export function drawLids({ image_size: S, texture_size: T = S, lids, source }, texture, pieces, pose) {
  const shown = texture.slice();
  piecesOf(lids.levels, source.pose, pose).forEach((level, index) => {
    const { left, top, width, height } = lids.eyes[index];
    for (let row = 0; level > 0 && row < height; row++) {
      const from = ((level - 1) * height + row) * width * 4;
      shown.set(pieces[index].subarray(from, from + width * 4), ((top + 1 + row) * (T + 3) + left + 1) * 4);
    }
  });
  return shown;
}
