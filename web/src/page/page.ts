/** The page: an avatar, large; what drives it; what it costs. */

import {
  type Avatar, BundleError, FaceTracker, fromFiles, InputError, latencyMs, loadAvatar, loadRuntime,
  PoseSmoother, Retargeter, type RuntimeOptions, type View,
} from "../bilayer.js"; // prettier-ignore
import { cameraProblem, type Driver, FaceDriver, MotionDriver } from "./drivers";
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
let source = "motion";
let smoother: PoseSmoother | null = null;

function say(message: string, problem = ""): void {
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
    const driver = source === "motion" ? null : loop?.driver;
    loop?.stop();
    const old = avatar;
    avatar = opened;
    await use(driver ?? new MotionDriver(opened, retargeter(opened)));
    await old?.dispose();
    picture.replaceChildren(opened.canvas);
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

async function use(driver: Driver): Promise<void> {
  if (!avatar) return driver.stop();
  if (loop?.driver !== driver) loop?.driver.stop();
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

async function follow(prepare: () => Promise<void>, name: string): Promise<void> {
  if (!avatar) return;
  say(`${name}: looking for a face…`);
  loop?.driver.stop();
  await use(new MotionDriver(avatar, retargeter(avatar)));
  await prepare();
  if (settings.face === null) throw new InputError("The face networks are not beside this page: docs/web.md tells how they get there.");
  tracker ??= loadRuntime(computing()).then((runtime) => FaceTracker.load(runtime, settings.face!));
  tracker.catch(() => (tracker = null));
  await use(new FaceDriver(video, await tracker, retargeter(avatar)));
}

async function choose(wanted: string): Promise<void> {
  if (!avatar) return say("", "Open an avatar first.");
  if (wanted === "video") return find<HTMLInputElement>("video-file").click();
  try {
    if (wanted === "motion") {
      await use(new MotionDriver(avatar, retargeter(avatar)));
      say("");
    } else await follow(openCamera, "Camera");
    press("[data-source]", (button) => button.dataset.source === wanted);
    source = wanted;
  } catch (error) {
    say("", error instanceof InputError ? error.message : cameraProblem(error));
  }
}

async function openCamera(): Promise<void> {
  video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480, facingMode: "user" } });
  await video.play();
  mirror(true);
}

async function playVideo(file: File): Promise<void> {
  try {
    await follow(async () => {
      video.src = URL.createObjectURL(file);
      video.loop = true;
      await video.play().catch(() => {
        throw new InputError(`${file.name}: this browser cannot play it; MP4 (H.264) and WebM work in most`);
      });
    }, file.name);
    press("[data-source]", (button) => button.dataset.source === "video");
    source = "video";
    mirror(false);
  } catch (error) {
    say("", told(error));
  }
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
    if (loop.driver.landmarks && find("message").textContent) say("");
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
  find("rate").firstElementChild!.textContent = (1000 / times.rate).toFixed(0);
  for (const name of ["face", "network", "draw"] as const) {
    const row = document.querySelector(`[data-stage=${name}]`)!;
    row.querySelector("meter")!.value = times[name];
    row.querySelector("b")!.textContent = `${times[name].toFixed(1)} ms`;
  }
}

// ---- controls ----

function press(selector: string, chosen: (button: HTMLButtonElement) => boolean): void {
  for (const button of all(selector)) button.setAttribute("aria-pressed", String(chosen(button)));
}

const output = (id: string, text: string) => (document.querySelector(`output[for=${id}]`)!.textContent = text);
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
  if (source === "video") void (loop.paused ? video.pause() : video.play());
  find("pause").setAttribute("aria-pressed", String(loop.paused));
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
    say("Recording…");
  }
  find("recording").hidden = !recorder;
  find("record").setAttribute("aria-pressed", String(!!recorder));
  find("record").lastElementChild!.textContent = recorder ? "Stop" : "Record";
}

function show(view: string): void {
  press("[data-view]", (button) => button.dataset.view === view);
  if (!loop) return;
  loop.view = view as View;
  loop.redraw();
}

function opened(files: File[]): void {
  if (files.length === 1 && files[0].type.startsWith("video/")) return void playVideo(files[0]);
  try {
    void open(fromFiles(files));
  } catch (error) {
    say("", told(error));
  }
}

/** All files of what was dropped, folders walked one level deep. */
async function dropped(transfer: DataTransfer): Promise<File[]> {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  const files: File[] = [];
  for (const entry of entries) {
    const inside = entry.isDirectory
      ? await new Promise<FileSystemEntry[]>((done, failed) => (entry as FileSystemDirectoryEntry).createReader().readEntries(done, failed))
      : [entry];
    for (const one of inside.filter((found) => found.isFile)) {
      files.push(await new Promise<File>((done, failed) => (one as FileSystemFileEntry).file(done, failed)));
    }
  }
  return files;
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
  for (const [id, use] of [["bundle-files", opened], ["video-file", ([file]: File[]) => playVideo(file)]] as const) {
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
  document.ondragover = (event) => {
    event.preventDefault();
    stage.classList.add("dropping");
  };
  document.ondragleave = () => stage.classList.remove("dropping");
  document.ondrop = async (event) => {
    event.preventDefault();
    stage.classList.remove("dropping");
    if (event.dataTransfer) opened(await dropped(event.dataTransfer));
  };
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
