/** MediaPipe's short-range face detector, decoded as bilayer.runtime.face.detector decodes it. */

import type { Runtime, Session } from "../runtime";
import { Cutter, MARGIN, type Picture, type Region, sizeOf, toPicture } from "./region";

const WINDOW = 128; // px, side of the network's input
const STRIDE = 80; // px between windows at most
const CELLS = [[16, 2], [8, 6]]; // cells a side, anchors a cell
const FIRST_LOOK = 0.5; // least score of a find
const SECOND_LOOK = 0.3; // of the turned views of a find
const TURN_GAIN = 0.05; // a turned view must score that much more than the one before it
const SAME_FACE = 0.3; // intersection over union from which two boxes are one face

export interface Detection {
  score: number;
  region: Region;
}
type Box = [number, number, number, number];
interface Candidate {
  score: number;
  box: Box; // left, top, right, bottom
  points: number[][]; // box centre, box size, six keypoints
}

const ANCHORS = CELLS.flatMap(([cells, anchors]) =>
  Array.from({ length: cells * cells * anchors }, (_, index) => {
    const cell = Math.floor(index / anchors);
    return [cell % cells, Math.floor(cell / cells)].map((place) => ((place + 0.5) * WINDOW) / cells - 0.5);
  }),
);

export class FaceDetector {
  readonly #cutter = new Cutter(WINDOW);

  private constructor(
    private readonly runtime: Runtime,
    private readonly session: Session,
  ) {}

  static async open(runtime: Runtime, tflite: Uint8Array): Promise<FaceDetector> {
    return new FaceDetector(runtime, await runtime.openFace(tflite));
  }

  /** Faces of a picture shrunk to `longSide` pixels, window by window, each once, best first. */
  async search(picture: Picture, longSide: number): Promise<Detection[]> {
    const [width, height] = sizeOf(picture);
    const scale = longSide / Math.max(width, height);
    const finds: Detection[] = [];
    for (const top of starts(Math.round(height * scale))) {
      for (const left of starts(Math.round(width * scale))) {
        const place = (start: number) => (start + WINDOW / 2) / scale - 0.5;
        const window = { x: place(left), y: place(top), side: WINDOW / scale, angle: 0 };
        finds.push(...(await this.#look(picture, window, FIRST_LOOK)));
      }
    }
    return bestOfEach(finds);
  }

  /** A find, seen from all four sides, then once more, upright; null where that shows nothing. */
  async turnUpright(picture: Picture, find: Detection): Promise<Detection | null> {
    let best: Detection | null = null;
    for (let quarters = 0; quarters < 4; quarters++) {
      const view = await this.#lookAt(picture, { ...find.region, angle: find.region.angle + (quarters * Math.PI) / 2 });
      if (view && (!best || view.score > best.score + TURN_GAIN)) best = view;
    }
    return best && this.#lookAt(picture, best.region);
  }

  async #lookAt(picture: Picture, region: Region): Promise<Detection | null> {
    const wider = { ...region, side: 1.2 * region.side }; // room for a face that the first look did not centre
    return (await this.#look(picture, wider, SECOND_LOOK))[0] ?? null;
  }

  /** Faces in one region, in the picture's pixels, best first. */
  async #look(picture: Picture, region: Region, least: number): Promise<Detection[]> {
    const input = this.#cutter.cut(picture, region, 1 / 127.5, -1);
    const feeds = { [this.session.inputNames[0]]: this.runtime.tensor(input, [1, 3, WINDOW, WINDOW]) };
    const results = await this.session.run(feeds);
    const [places, logits] = this.session.outputNames.map((name) => results[name].data as Float32Array); // (896, 16), (896,)
    const found: Candidate[] = [];
    ANCHORS.forEach((anchor, index) => {
      const score = 1 / (1 + Math.exp(-Math.min(Math.max(logits[index], -100), 100)));
      if (score < least) return;
      const points = Array.from({ length: 8 }, (_, n) =>
        [0, 1].map((axis) => places[16 * index + 2 * n + axis] + (n === 1 ? 0 : anchor[axis])),
      );
      const [[x, y], [w, h]] = points;
      found.push({ score, points, box: [x - w / 2, y - h / 2, x + w / 2, y + h / 2] });
    });
    found.sort((a, b) => b.score - a.score);
    return blend(found).map(({ score, region: seen }) => {
      const [x, y] = toPicture(region, WINDOW, seen.x, seen.y);
      return { score, region: { x, y, side: (seen.side * region.side) / WINDOW, angle: seen.angle + region.angle } };
    });
  }
}

/** For every face found the find with the best score; the best first. */
export function bestOfEach(finds: Detection[]): Detection[] {
  const box = ({ region: { x, y, side } }: Detection): Box => {
    const half = side / MARGIN / 2;
    return [x - half, y - half, x + half, y + half];
  };
  const kept: Detection[] = [];
  for (const find of [...finds].sort((a, b) => b.score - a.score || a.region.x - b.region.x)) {
    if (kept.every((other) => overlap(box(find), box(other)) <= SAME_FACE)) kept.push(find);
  }
  return kept;
}

/** Overlapping boxes merged, weighted by score, as MediaPipe's "weighted" non-maximum suppression does. */
function blend(found: Candidate[]): Detection[] {
  const merged: Detection[] = [];
  let left = found;
  while (left.length) {
    const [best] = left;
    const same = left.filter((one) => one === best || overlap(best.box, one.box) > SAME_FACE);
    left = left.filter((one) => !same.includes(one));
    const weight = same.reduce((sum, one) => sum + one.score, 0);
    const point = (n: number) => [0, 1].map((axis) => same.reduce((sum, one) => sum + one.score * one.points[n][axis], 0) / weight);
    const [[x, y], extent, right, other] = [point(0), point(1), point(2), point(3)];
    const angle = Math.atan2(other[1] - right[1], other[0] - right[0]);
    merged.push({ score: best.score, region: { x, y, side: MARGIN * Math.max(...extent), angle } });
  }
  return merged;
}

function overlap(a: Box, b: Box): number {
  const sides = [0, 1].map((axis) => Math.max(Math.min(a[axis + 2], b[axis + 2]) - Math.max(a[axis], b[axis]), 0));
  const area = (box: Box) => (box[2] - box[0]) * (box[3] - box[1]);
  const shared = sides[0] * sides[1];
  return shared / Math.max(area(a) + area(b) - shared, 1e-9);
}

/** Where windows begin so that they cover `length` pixels evenly. */
function starts(length: number): number[] {
  const count = Math.max(1, Math.ceil((length - WINDOW) / STRIDE) + 1);
  return Array.from({ length: count }, (_, index) => (count === 1 ? 0 : Math.round((index * (length - WINDOW)) / (count - 1))));
}
