/** What was seen of a driver, over its picture: landmarks, and what is wrong with the face. */

import type { FaceDriver } from "./drivers";

const WIDEST = 320; // px, of the canvas over the small picture
const ADVICE = {
  lost: "no face seen", "too small": "come nearer", "too dark": "too dark", turned: "face the camera",
}; // prettier-ignore

/** Draw the found landmarks on the canvas, and say in the caption what is wrong. */
export function drawSeen({ video, landmarks, problems }: FaceDriver, canvas: HTMLCanvasElement, caption: HTMLElement): void {
  const scale = Math.min(1, WIDEST / video.videoWidth);
  const [width, height] = [video.videoWidth, video.videoHeight].map((side) => Math.round(side * scale));
  if (canvas.width !== width) [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d")!;
  context.clearRect(0, 0, width, height);
  const advice = problems.map((problem) => ADVICE[problem]).join(", ");
  if (caption.textContent !== advice) caption.textContent = advice; // a screen reader says what changes
  context.fillStyle = "#5ff2c6"; // seen on any skin
  for (let n = 0; n < (landmarks?.length ?? 0); n += 2) {
    const [x, y] = [landmarks![n] * scale, landmarks![n + 1] * scale];
    context.fillRect(x - width / 200, y - width / 200, width / 100, width / 100);
  }
}
