/** The avatar over its background, to a video file. */

const KINDS = ["video/mp4;codecs=avc1.42E01F", "video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm"];

export class Recorder {
  readonly #canvas = document.createElement("canvas");
  readonly #context: CanvasRenderingContext2D;
  readonly #recorder: MediaRecorder;
  readonly #parts: Blob[] = [];
  #begin = performance.now();
  #held: number | null = null; // when a pause began

  constructor(public source: HTMLCanvasElement, private readonly background: string, private readonly mirrored: () => boolean) {
    const scale = Math.max(1, Math.round(512 / source.width)); // encoders want no tiny pictures
    this.#canvas.width = this.#canvas.height = source.width * scale;
    this.#context = this.#canvas.getContext("2d")!;
    this.draw();
    const kind = KINDS.find((one) => MediaRecorder.isTypeSupported(one));
    this.#recorder = new MediaRecorder(this.#canvas.captureStream(), { mimeType: kind, videoBitsPerSecond: 4e6 });
    this.#recorder.ondataavailable = ({ data }) => this.#parts.push(data);
    this.#recorder.start(1000);
  }

  get seconds(): number {
    return ((this.#held ?? performance.now()) - this.#begin) / 1000;
  }

  /** Leaves a pause out, from `hold(true)` to `hold(false)`. */
  hold(on: boolean): void {
    if (on) this.#recorder.pause();
    else this.#recorder.resume();
    if (this.#held !== null) this.#begin += performance.now() - this.#held;
    this.#held = on ? performance.now() : null;
  }

  /** Takes the avatar's canvas as it is now. */
  draw(): void {
    const { width } = this.#canvas;
    const context = this.#context;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = this.background;
    context.fillRect(0, 0, width, width);
    if (this.mirrored()) context.setTransform(-1, 0, 0, 1, width, 0);
    context.drawImage(this.source, 0, 0, width, width);
  }

  /** Ends, and hands the file to the visitor; its name. */
  async save(name: string): Promise<string> {
    await new Promise((resolve) => {
      this.#recorder.onstop = resolve;
      this.#recorder.stop();
    });
    const type = this.#recorder.mimeType;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(this.#parts, { type }));
    link.download = `${name}.${type.includes("mp4") ? "mp4" : "webm"}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    return link.download;
  }
}
