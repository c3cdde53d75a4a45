/** For the curious: the texture, and over it the net of places where the frame's pixels look. */

import type { Avatar } from "../bilayer.js";

const LINES = 24; // of the net, each way

export class TextureView {
  readonly #picture: ImageBitmap | OffscreenCanvas;
  readonly #context: CanvasRenderingContext2D;

  constructor(private readonly avatar: Avatar, canvas: HTMLCanvasElement) {
    const { texture_size: T } = avatar.contract;
    const side = T + 3;
    const image = new ImageData(T, T);
    for (let y = 0; y < T; y++) {
      for (let x = 0; x < T; x++) {
        for (let c = 0; c < 3; c++) {
          image.data[(y * T + x) * 4 + c] = (avatar.bundle.texture[((y + 1) * side + x + 1) * 4 + c] + 1) * 127.5;
        }
        image.data[(y * T + x) * 4 + 3] = 255;
      }
    }
    const picture = new OffscreenCanvas(T, T);
    picture.getContext("2d")!.putImageData(image, 0, 0);
    this.#picture = picture;
    canvas.width = canvas.height = 2 * T; // thin lines
    this.#context = canvas.getContext("2d")!;
  }

  draw(planes: Float32Array): void {
    const { image_size: S, texture_size: T } = this.avatar.contract;
    const context = this.#context;
    context.drawImage(this.#picture, 0, 0, 2 * T, 2 * T);
    context.strokeStyle = "rgb(255 255 255 / 0.55)";
    context.lineWidth = T / 200;
    context.beginPath();
    for (let line = 0; line <= LINES; line++) {
      const place = Math.round((line * (S - 1)) / LINES);
      for (const upright of [false, true]) {
        for (let along = 0; along < S; along += along + 2 < S ? 2 : 1) {
          const [i, j] = upright ? [along, place] : [place, along];
          const x = ((2 * j + 1) / S + planes[i * S + j]) * T;
          const y = ((2 * i + 1) / S + planes[S * S + i * S + j]) * T;
          if (along === 0) context.moveTo(x, y);
          else context.lineTo(x, y);
        }
      }
    }
    context.stroke();
  }
}
