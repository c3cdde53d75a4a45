/** A face's 68 landmarks in a video, found once, then followed: as bilayer.runtime.face.mediapipe. */

import { InputError } from "../errors";
import type { Runtime, Session } from "../runtime";
import { bestOfEach, FaceDetector } from "./detector";
import { Cutter, type Picture, type Region, regionOfLandmarks, toPicture } from "./region";

const SIDE = 192; // px, side of the mesh network's input
const MIN_PRESENCE = 0.9; // below it the mesh was fitted to something else
const LONG_SIDES = [128, 171]; // px that pictures are shrunk to before they are searched: faces from 15 % of the width on
const LEAST_SCORE = 0.65; // of the detector's last, upright look

// Mesh point of each iBUG landmark: bilayer.runtime.face.mesh
const IBUG = [
  127, 234, 93, 58, 172, 150, 149, 148, 152, 377, 378, 379, 397, 288, 323, 454, 356, // jaw
  70, 63, 105, 66, 107, 336, 296, 334, 293, 300, // brows, upper edge
  168, 197, 195, 4, 98, 97, 2, 326, 327, // nose
  33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380, // eyes
  61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91, // outer lips
  78, 81, 13, 311, 308, 402, 14, 178, // inner lips
]; // prettier-ignore
const BROWS_LOWER_EDGE = [46, 53, 52, 65, 55, 285, 295, 282, 283, 276];

export class FaceTracker {
  readonly #cutter = new Cutter(SIDE);

  private constructor(
    private readonly runtime: Runtime,
    private readonly detector: FaceDetector,
    private readonly mesh: Session,
  ) {}

  /** With the two .tflite files in a folder: face_detection_short_range and face_landmark. */
  static async load(runtime: Runtime, folder: string | URL): Promise<FaceTracker> {
    const read = async (name: string) => {
      const answer = await fetch(new URL(name, new URL(folder, document.baseURI)));
      if (!answer.ok) throw new InputError(`${name}: the face networks are not there (${answer.status})`);
      return new Uint8Array(await answer.arrayBuffer());
    };
    const [detector, mesh] = await Promise.all([read("face_detection_short_range.tflite"), read("face_landmark.tflite")]);
    return new FaceTracker(runtime, await FaceDetector.open(runtime, detector), await runtime.openFace(mesh));
  }

  /** The landmarks (136,) of the face where it was, or of the largest anywhere; null where there is none. */
  async track(picture: Picture, previous: ArrayLike<number> | null): Promise<Float32Array | null> {
    return (previous && (await this.#fitIn(picture, regionOfLandmarks(previous)))) || this.find(picture);
  }

  /** The landmarks (136,) of the picture's largest face, in its pixels. */
  async find(picture: Picture): Promise<Float32Array | null> {
    const finds = [];
    for (const side of LONG_SIDES) finds.push(...(await this.detector.search(picture, side)));
    const upright = [];
    for (const find of bestOfEach(finds)) {
      const view = await this.detector.turnUpright(picture, find);
      if (view && view.score >= LEAST_SCORE) upright.push(view);
    }
    for (const { region } of bestOfEach(upright).sort((a, b) => b.region.side - a.region.side)) {
      const rough = await this.#mesh(picture, region); // the detector's box is rough: the mesh says where exactly to look
      const face = await this.#fitIn(picture, regionOfLandmarks(rough.landmarks));
      if (face) return face;
    }
    return null;
  }

  async #fitIn(picture: Picture, region: Region): Promise<Float32Array | null> {
    const { landmarks, presence } = await this.#mesh(picture, region);
    return presence >= MIN_PRESENCE ? landmarks : null;
  }

  async #mesh(picture: Picture, region: Region): Promise<{ landmarks: Float32Array; presence: number }> {
    const input = this.#cutter.cut(picture, region, 1 / 255, 0);
    const results = await this.mesh.run({ [this.mesh.inputNames[0]]: this.runtime.tensor(input, [1, 3, SIDE, SIDE]) });
    const [points, logit] = this.mesh.outputNames.map((name) => results[name].data as Float32Array); // (468, 3), (1,)
    const landmarks = new Float32Array(136);
    IBUG.forEach((point, n) => {
      const lower = n >= 17 && n < 27 ? BROWS_LOWER_EDGE[n - 17] : point; // brows run along the middle of their edges
      const [x, y] = [0, 1].map((axis) => (points[3 * point + axis] + points[3 * lower + axis]) / 2);
      landmarks.set(toPicture(region, SIDE, x, y), 2 * n);
    });
    return { landmarks, presence: 1 / (1 + Math.exp(-Math.min(Math.max(logit[0], -100), 100))) };
  }
}
