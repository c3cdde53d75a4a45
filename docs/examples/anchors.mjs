// The anchors of docs/bundle.md: the warp, moved so that landmarks of the avatar lie where the pose has them.
import { bilinear } from "./reader.mjs";

const GRID = 32; // points a side, at which the sum is taken

function missing({ x, y }, [right, down], S, deltaUv, limit) { // e of a landmark: how far off the warp looks under it
  const [column, row] = [right, down].map((place) => Math.min(Math.max(((place + 1) * S - 1) / 2, 0), S - 1));
  const u = (2 * column + 1) / S - 1 + bilinear(deltaUv, S, 0, column, row);
  const v = (2 * row + 1) / S - 1 + bilinear(deltaUv, S, 1, column, row);
  if (!Number.isFinite(x - u) || !Number.isFinite(y - v)) return [0, 0];
  const scale = limit / Math.max(Math.hypot(x - u, y - v), limit);
  return [(x - u) * scale, (y - v) * scale];
}

function solve(rows) { // [matrix | columns] to the columns of its solution: Gauss and Jordan; the ridge keeps pivots from 0
  rows.forEach((pivot, k) => {
    for (const row of rows.filter((other) => other !== pivot)) {
      const factor = row[k] / pivot[k];
      row.forEach((value, column) => (row[column] = value - factor * pivot[column]));
    }
  });
  return rows.map((row, i) => row.slice(rows.length).map((value) => value / row[i]));
}

export function moveWarp({ image_size: S, anchors: { reach, limit, points } }, deltaUv, pose) {
  const bell = ([x, y], [right, down]) => Math.exp(-((x - right) ** 2 + (y - down) ** 2) / (2 * reach ** 2));
  const held = (place) => Math.min(Math.max(place, -1e6), 1e6); // its square is no overflow
  const places = points.map(({ landmark: n }) => [held(pose[2 * n] + 1 / S), held(pose[2 * n + 1] + 1 / S)]);
  const weights = solve(points.map((point, i) => [
    ...places.map((place, j) => bell(places[i], place) + (i === j ? point.ridge : 0)),
    ...missing(point, places[i], S, deltaUv, limit),
  ]));
  const field = new Float32Array(2 * GRID * GRID);
  for (let index = 0; index < field.length; index++) {
    const [axis, row, column] = [Math.floor(index / GRID ** 2), Math.floor(index / GRID) % GRID, index % GRID];
    const centre = [(2 * column + 1) / GRID - 1, (2 * row + 1) / GRID - 1];
    field[index] = places.reduce((sum, place, i) => sum + weights[i][axis] * bell(centre, place), 0);
  }
  return deltaUv.map((value, index) => {
    const [axis, row, column] = [Math.floor(index / S ** 2), Math.floor(index / S) % S, index % S];
    return value + bilinear(field, GRID, axis, ((column + 0.5) * GRID) / S - 0.5, ((row + 0.5) * GRID) / S - 0.5);
  });
}
