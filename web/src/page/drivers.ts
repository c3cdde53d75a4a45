/** Where poses come from: the built-in motion, the camera, a video. */

import { Avatar, DemoMotion, faceBox, FaceTracker, InputError, type Problem, problems, Retargeter } from "../bilayer.js";

/** One moment: the avatar's pose; null where there is none yet. */
export interface Driver {
  pose(seconds: number): Promise<ArrayLike<number> | null>;
  /** Milliseconds that the last pose took to find. */
  readonly milliseconds: number;
  recentre(): void;
}

export class MotionDriver implements Driver {
  readonly milliseconds = 0;
  readonly #motion: DemoMotion;

  constructor(avatar: Avatar, readonly retargeter: Retargeter) {
    this.#motion = new DemoMotion(avatar.sourcePose);
    retargeter.recentre();
    retargeter.pose(avatar.sourcePose); // the motion begins there
  }

  async pose(seconds: number): Promise<ArrayLike<number>> {
    return this.retargeter.pose(this.#motion.pose(seconds)); // for the gains' sake
  }

  recentre(): void {}
}

const LOOK = 10; // pictures from one look at the face's light to the next
const PATIENCE = 250; // ms without a new picture until the last one is shown again: the video stands still

/**
 * The face that a <video> shows, of a camera or a file. It is sought in the video's next picture as soon as that of the
 * last one was taken, while the avatar's network works on that; what came in between is skipped.
 */
export class FaceDriver implements Driver {
  milliseconds = 0;
  landmarks: Float32Array | null = null; // (136,) in the video's pixels
  problems: Problem[] = []; // what is wrong with the face
  readonly #spot = new OffscreenCanvas(16, 16).getContext("2d", { willReadFrequently: true })!;
  #bright: number | null = null;
  #pictures = 0;
  #last: ArrayLike<number> | null = null;
  #seen = -1;
  #coming: Promise<void> | null = null;

  constructor(readonly video: HTMLVideoElement, readonly tracker: FaceTracker, readonly retargeter: Retargeter) {
    retargeter.recentre();
  }

  async pose(): Promise<ArrayLike<number> | null> {
    await (this.#coming ?? this.#follow());
    if (this.landmarks) this.#last = this.retargeter.pose(this.landmarks);
    this.#coming = this.#follow();
    this.#coming.catch(() => {}); // whoever asks for the pose hears of it
    return this.#last;
  }

  async #follow(): Promise<void> {
    const { video } = this;
    const until = performance.now() + PATIENCE;
    while (video.readyState < 2 || video.currentTime === this.#seen) {
      if (performance.now() > until) return;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    this.#seen = video.currentTime;
    const begin = performance.now();
    this.landmarks = await this.tracker.track(video, this.landmarks);
    if (this.landmarks && this.#pictures++ % LOOK === 0) this.#bright = this.#light(this.landmarks);
    this.problems = problems(this.landmarks, this.#bright);
    this.milliseconds = performance.now() - begin;
  }

  /** The mean of the face in the video's picture, 0..255. */
  #light(landmarks: ArrayLike<number>): number {
    const [left, top, right, bottom] = faceBox(landmarks);
    this.#spot.clearRect(0, 0, 16, 16);
    this.#spot.drawImage(this.video, left, top, Math.max(right - left, 1), Math.max(bottom - top, 1), 0, 0, 16, 16);
    const { data } = this.#spot.getImageData(0, 0, 16, 16);
    let [sum, count] = [0, 0];
    for (let at = 0; at < data.length; at += 4) {
      if (!data[at + 3]) continue; // beyond the picture's edge
      sum += data[at] + data[at + 1] + data[at + 2];
      count += 3;
    }
    return count ? sum / count : 255;
  }

  recentre(): void {
    this.retargeter.recentre();
  }
}

/** Lets go of the camera or file that the <video> shows. */
export function closeVideo(video: HTMLVideoElement): void {
  stop(video.srcObject as MediaStream | null);
  video.srcObject = null;
  if (video.src) URL.revokeObjectURL(video.src);
  video.removeAttribute("src");
  video.load();
}

const stop = (stream: MediaStream | null) => stream?.getTracks().forEach((track) => track.stop());

/** Shows the camera in the <video>; nothing, where it is not `wanted` any more when the visitor allows it. */
export async function openCamera(video: HTMLVideoElement, wanted: () => boolean, ended: () => void): Promise<void> {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480, facingMode: "user" } });
  if (!wanted()) return stop(stream);
  stream.getVideoTracks()[0].onended = ended;
  video.srcObject = stream;
  await video.play();
}

/** Plays a file in the <video>, over and over. */
export async function openVideo(video: HTMLVideoElement, file: File): Promise<void> {
  video.src = URL.createObjectURL(file);
  video.loop = true;
  await video.play().catch(() => {
    throw new InputError(`${file.name}: this browser cannot play it; MP4 (H.264) and WebM work in most`);
  });
}

/** What to say of a camera that does not open. */
export function cameraProblem(error: unknown): string {
  const { name, message } = error as DOMException;
  if (!navigator.mediaDevices) return "The camera needs https, or this page opened as localhost.";
  if (name === "NotAllowedError") return "The camera is refused: allow it beside the address, then choose Camera again.";
  if (name === "NotFoundError") return "No camera was found. A video works too.";
  if (name === "NotReadableError") return "The camera is busy: close the other program that uses it.";
  return `The camera does not open (${message}).`;
}
