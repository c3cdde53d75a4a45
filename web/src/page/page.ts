/** The page: an avatar, large; what drives it; what it costs. */

import {
  type Avatar, BundleError, FaceTracker, fromFiles, InputError, latencyMs, loadAvatar, loadRuntime,
  PoseSmoother, Retargeter, type RuntimeOptions, type View,
} from "../bilayer.js"; // prettier-ignore
import { cameraProblem, closeVideo, type Driver, FaceDriver, MotionDriver, openCamera, openVideo } from "./drivers";
import { takeDropped } from "./dropped";
import { Loop, type Times } from "./loop";
import { Recorder } from "./recorder";
import { drawSeen } from "./seen";
import { TextureView } from "./texture";

/** page.json, which lies beside the page: where everything else lies. */
interface Settings {
  avatar: string | null; // address of an avatar.json
  engine: "ort" | "litert"; // what computes
  runtime: string; // folder of its files
  webgpu: boolean; // whether its build for WebGPU is among them
  face: string | null; // folder of the two face networks
}

const BACKDROPS: Record<string, string> = { white: "#ffffff", black: "#000000", green: "#00b140" };

const find = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const all = (selector: string) => [...document.querySelectorAll<HTMLButtonElement>(selector)];
const [stage, picture, video] = [find("stage"), find("picture"), find<HTMLVideoElement>("video")];

let settings: Settings;
let avatar: Avatar | null = null;
let loop: Loop | null = null;
let texture: TextureView | null = null;
let recorder: Recorder | null = null;
let tracker: Promise<FaceTracker> | null = null;
let choice = 0; // of a driver, the how many-th: what a choice before comes to is of no interest
let looking = false; // for the first face
let smoother: PoseSmoother | null = null;

function say(message: string, problem = ""): void {
  looking = false;
  find("message").textContent = message;
  find("problem").textContent = problem;
}

/** An error as one line; what is nobody's fault is told whole in the console. */
function told(error: unknown): string {
  if (!(error instanceof InputError)) console.warn(error);
  return error instanceof Error ? error.message : String(error);
}

// ---- avatars ----

async function open(from: Parameters<typeof loadAvatar>[0]): Promise<void> {
  say("Loading the avatar…");
  try {
    const query = new URLSearchParams(location.search);
    const sampler = (query.get("sampler") ?? undefined) as "cpu" | undefined; // ?sampler=cpu and ?threads=1: to compare
    const opened = await loadAvatar(from, { ...computing(), sampler });
    const [old, driver] = [avatar, loop?.driver];
    avatar = opened;
    use(driver instanceof FaceDriver ? new FaceDriver(video, driver.tracker, retargeter(opened)) : new MotionDriver(opened, retargeter(opened)));
    picture.replaceChildren(opened.canvas);
    if (recorder) recorder.source = opened.canvas;
    await old?.dispose();
    void opened.sampler.lost.then(() => (avatar === opened ? open(from) : undefined)); // by what can draw then
    texture = new TextureView(opened, find("atlas"));
    find("welcome").hidden = true;
    find("rate").hidden = false;
    describe(opened);
    say("");
  } catch (error) {
    say("", told(error));
  }
}

/** What computes, for the avatar's network and for the face's. */
function computing(): RuntimeOptions {
  const threads = Number(new URLSearchParams(location.search).get("threads")) || undefined;
  return { engine: settings.engine, runtime: settings.runtime, webgpu: settings.webgpu, threads };
}

function describe(opened: Avatar): void {
  const { backend, engine, threads } = opened.runtime;
  const name = engine === "litert" ? "LiteRT" : "ONNX Runtime";
  const network = `${name}, ${backend === "webgpu" ? "WebGPU" : `WebAssembly, ${threads} thread${threads > 1 ? "s" : ""}`}`;
  const drawing = { webgpu: "WebGPU", webgl2: "WebGL 2", cpu: "the processor" }[opened.sampler.kind];
  const lines = [`Network: ${network}. Drawing: ${drawing}.`];
  if (!("gpu" in navigator)) lines.push("This browser has no WebGPU.");
  if (!crossOriginIsolated) lines.push("One thread: this server does not send the two headers that more need.");
  find("engine").textContent = lines.join(" ");
  const { image_size, frame_size } = opened.contract;
  find("about").textContent = `${frame_size} px${frame_size === image_size ? "" : ` of a network of ${image_size}`}, on this machine. Nothing is uploaded.`;
}

function retargeter(of: Avatar): Retargeter {
  const made = new Retargeter(of.sourcePose);
  made.gains = gains();
  return made;
}

// ---- what drives it ----

function use(driver: Driver): void {
  if (!avatar) return;
  const paused = loop?.paused ?? false;
  loop?.stop();
  smoother = new PoseSmoother(avatar.sourcePose, slider("smoothing"));
  loop = new Loop(avatar, driver, smoother, shown, (error) => say("", told(error)));
  loop.view = (all("[data-view][aria-pressed=true]")[0].dataset.view ?? "frame") as View;
  loop.paused = paused;
  const face = driver instanceof FaceDriver;
  find("inset").hidden = find("recentre").hidden = !face;
  document.querySelector<HTMLElement>("[data-stage=face]")!.hidden = !face;
}

/** The built-in motion, until somebody else is seen. */
function rest(of: Avatar): void {
  closeVideo(video);
  use(new MotionDriver(of, retargeter(of)));
  chosen("motion");
}

const chosen = (wanted: string) => press("[data-source]", (button) => button.dataset.source === wanted);

/** Follow the face in what `show` brings into the <video>, unless something else is chosen meanwhile. */
async function follow(wanted: string, name: string, show: (still: () => boolean) => Promise<void>): Promise<void> {
  if (!avatar) return say("", "Open an avatar first.");
  const mine = ++choice;
  const still = () => mine === choice;
  rest(avatar);
  if (loop?.paused) pause();
  say(`${name}: looking for a face…`);
  looking = true;
  try {
    await show(still);
    if (!still()) return;
    if (settings.face === null) throw new InputError("The face networks are not beside this page: docs/web.md tells how they get there.");
    tracker ??= loadRuntime(computing()).then((runtime) => FaceTracker.load(runtime, settings.face!));
    tracker.catch(() => (tracker = null));
    const found = await tracker;
    if (!still()) return;
    use(new FaceDriver(video, found, retargeter(avatar)));
    chosen(wanted);
  } catch (error) {
    if (!still()) return;
    rest(avatar);
    say("", error instanceof InputError ? error.message : cameraProblem(error));
  }
}

function choose(wanted: string): void {
  if (!avatar) return say("", "Open an avatar first.");
  if (wanted === "video") return find<HTMLInputElement>("video-file").click();
  if (wanted === "camera") return void followCamera();
  choice++;
  rest(avatar);
  say("");
}

function followCamera(): Promise<void> {
  return follow("camera", "Camera", async (still) => {
    await openCamera(video, still, () => {
      if (!still() || !avatar) return;
      rest(avatar);
      say("", "The camera is gone: connect it, then choose Camera again.");
    });
    if (still()) mirror(true);
  });
}

function followVideo(file: File): Promise<void> {
  return follow("video", file.name, async (still) => {
    await openVideo(video, file);
    if (still()) mirror(false);
  });
}

// ---- every frame ----

let told_at = 0;

function shown(): void {
  if (!loop) return;
  recorder?.draw();
  const now = performance.now();
  if (texture && loop.planes && find<HTMLDetailsElement>("curious").open) texture.draw(loop.planes);
  if (loop.driver instanceof FaceDriver) {
    drawSeen(loop.driver, find<HTMLCanvasElement>("points"), find("seen"));
    if (looking && loop.driver.landmarks) say("");
  }
  if (now - told_at < 250) return;
  told_at = now;
  report(loop.times);
  if (recorder) {
    const seconds = Math.floor(recorder.seconds);
    find("recording").lastElementChild!.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  }
}

function report(times: Times): void {
  find("rate").firstElementChild!.textContent = (times.rate ? 1000 / times.rate : 0).toFixed(0);
  for (const name of ["face", "network", "draw"] as const) {
    const row = document.querySelector(`[data-stage=${name}]`)!;
    row.querySelector("meter")!.value = times[name];
    row.querySelector("b")!.textContent = `${times[name].toFixed(times[name] < 100 ? 1 : 0)} ms`;
  }
}

// ---- controls ----

function press(selector: string, chosen: (button: HTMLButtonElement) => boolean): void {
  for (const button of all(selector)) button.setAttribute("aria-pressed", String(chosen(button)));
}

/** What a slider's value means, beside it, and for a screen reader in the number's place. */
function output(id: string, text: string): void {
  document.querySelector(`output[for=${id}]`)!.textContent = text;
  find(id).setAttribute("aria-valuetext", text);
}
const slider = (id: string) => Number(find<HTMLInputElement>(id).value);
const gains = () => ({ head: find<HTMLInputElement>("hold").checked ? 0 : slider("head"), mouth: slider("mouth"), eyes: slider("eyes") });

function slid(): void {
  for (const id of ["head", "mouth", "eyes"]) output(id, `${Math.round(100 * slider(id))} %`);
  if (gains().head === 0) output("head", "held");
  const smoothing = slider("smoothing");
  if (smoother) smoother.amount = smoothing;
  output("smoothing", smoothing ? `${Math.round(latencyMs(smoothing))} ms at rest` : "off");
  const driver = loop?.driver;
  if (driver instanceof FaceDriver || driver instanceof MotionDriver) driver.retargeter.gains = gains();
}

function mirror(on: boolean): void {
  find<HTMLInputElement>("mirror").checked = on;
  for (const one of [picture, video, find("points")]) one.classList.toggle("mirrored", on);
}

function pause(): void {
  if (!loop) return;
  loop.paused = !loop.paused;
  if (video.src) void (loop.paused ? video.pause() : video.play());
  recorder?.hold(loop.paused);
  find("pause").classList.toggle("on", loop.paused);
  find("pause").lastElementChild!.textContent = loop.paused ? "Play" : "Pause";
}

async function record(): Promise<void> {
  if (!avatar) return say("", "Open an avatar first.");
  const started = recorder;
  if (started) {
    recorder = null;
    say(`Saved as ${await started.save("avatar")}.`);
  } else {
    if (!("MediaRecorder" in globalThis)) return say("", "This browser cannot record.");
    const light = matchMedia("(prefers-color-scheme: light)").matches;
    const background = BACKDROPS[stage.dataset.backdrop!] ?? (light ? "#dedad2" : "#2b2824");
    recorder = new Recorder(avatar.canvas, background, () => find<HTMLInputElement>("mirror").checked);
    if (loop?.paused) recorder.hold(true);
    say("Recording…");
  }
  find("recording").hidden = !recorder;
  find("record").classList.toggle("on", !!recorder);
  find("record").lastElementChild!.textContent = recorder ? "Stop" : "Record";
}

function show(view: string): void {
  press("[data-view]", (button) => button.dataset.view === view);
  if (!loop) return;
  loop.view = view as View;
  loop.redraw();
}

function opened(files: File[]): void {
  if (files.length === 1 && files[0].type.startsWith("video/")) return void followVideo(files[0]);
  try {
    void open(fromFiles(files));
  } catch (error) {
    say("", told(error));
  }
}

function wire(): void {
  for (const button of all("[data-source]")) button.onclick = () => choose(button.dataset.source!);
  for (const button of all("[data-view]")) button.onclick = () => show(button.dataset.view!);
  for (const button of all("button[data-backdrop]")) {
    button.onclick = () => {
      stage.dataset.backdrop = button.dataset.backdrop;
      press("button[data-backdrop]", (one) => one === button);
    };
  }
  for (const button of all("[data-open]")) button.onclick = () => find<HTMLInputElement>("bundle-files").click();
  for (const [id, use] of [["bundle-files", opened], ["video-file", ([file]: File[]) => followVideo(file)]] as const) {
    const input = find<HTMLInputElement>(id);
    input.onchange = () => {
      if (input.files?.length) void use([...input.files]);
      input.value = "";
    };
  }
  for (const id of ["head", "mouth", "eyes", "smoothing", "hold"]) find<HTMLInputElement>(id).oninput = slid;
  find("reset").onclick = () => {
    for (const id of ["head", "mouth", "eyes", "smoothing"]) {
      const input = find<HTMLInputElement>(id);
      input.value = input.defaultValue;
    }
    find<HTMLInputElement>("hold").checked = false;
    slid();
  };
  find("pause").onclick = pause;
  find("record").onclick = record;
  find("recentre").onclick = () => loop?.driver.recentre();
  find<HTMLInputElement>("mirror").onchange = ({ target }) => mirror((target as HTMLInputElement).checked);
  document.onclick = (event) => {
    if (event.detail) (event.target as Element).closest("button")?.blur(); // after a mouse's click Space pauses
  };
  document.onkeydown = (event) => {
    const typing = (event.target as HTMLElement).closest("input, button, summary");
    if (event.ctrlKey || event.metaKey || event.altKey || (typing && event.key === " ")) return;
    const action = {
      " ": pause,
      r: record,
      c: () => loop?.driver.recentre(),
      m: () => mirror(!find<HTMLInputElement>("mirror").checked),
      "1": () => show("frame"),
      "2": () => show("texture"),
      "3": () => show("layer"),
      "4": () => show("warp"),
    }[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    void action();
  };
  takeDropped(stage, opened);
}

async function begin(): Promise<void> {
  wire();
  slid();
  const answer = await fetch("page.json");
  if (!answer.ok) throw new BundleError("page.json is missing: copy the page's whole folder");
  settings = (await answer.json()) as Settings;
  const wanted = new URLSearchParams(location.search).get("avatar") ?? settings.avatar;
  if (wanted) {
    find("welcome").hidden = true;
    await open(wanted);
    find("welcome").hidden = avatar !== null;
  }
}

begin().catch((error) => say("", told(error)));
