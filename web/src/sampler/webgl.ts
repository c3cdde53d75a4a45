/** The sampler as a WebGL 2 fragment shader: float32 lerps of texels that are fetched, since filters round to 8 bits. */

import type { Bundle } from "../bundle";
import { PADDING } from "../contract";
import type { Patch } from "../lids";
import { PLANES } from "../outputs";
import { frameCanvas, geometry, type Sampler, type View, VIEWS } from "./sampler";

const EMULATED = /swiftshader|llvmpipe|software|basic render/i; // on the processor, where plain code is quicker

const VERTEX = `#version 300 es
void main() { gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0); }`;

const FRAGMENT = `#version 300 es
precision highp float; precision highp int;
precision highp sampler2D; precision highp sampler2DArray;
uniform sampler2D atlas; uniform sampler2DArray fields;
uniform int S, F, view; uniform float scale, origin, limit;
out vec4 colour;

float field(int plane, ivec4 tap, vec2 weight) {
  float a = texelFetch(fields, ivec3(tap.x, tap.z, plane), 0).r, b = texelFetch(fields, ivec3(tap.y, tap.z, plane), 0).r;
  float c = texelFetch(fields, ivec3(tap.x, tap.w, plane), 0).r, d = texelFetch(fields, ivec3(tap.y, tap.w, plane), 0).r;
  float upper = a + weight.x * (b - a), lower = c + weight.x * (d - c);
  return upper + weight.y * (lower - upper);
}
void main() {
  ivec2 pixel = ivec2(int(gl_FragCoord.x), F - 1 - int(gl_FragCoord.y));
  ivec2 place = clamp((2 * pixel + 1) * S - F, 0, 2 * F * (S - 1));
  ivec2 first = place / (2 * F), rest = place - first * 2 * F, second = first + min(rest, 1);
  ivec4 tap = ivec4(first.x, second.x, first.y, second.y);
  vec2 weight = vec2(rest) / float(2 * F);
  vec2 uv = vec2(field(0, tap, weight), field(1, tap, weight));
  vec3 rgb = vec3(0);
  if (view == 0 || view == 2) rgb = vec3(field(2, tap, weight), field(3, tap, weight), field(4, tap, weight));
  if (view <= 1) {
    vec2 at = clamp((vec2(pixel) + 0.5) * (scale * 2.0 / float(F)) + origin + uv * scale, 0.0, limit);
    ivec2 texel = ivec2(at);
    vec2 part = at - vec2(texel);
    vec4 a = texelFetch(atlas, texel, 0), b = texelFetch(atlas, texel + ivec2(1, 0), 0);
    a += part.y * (texelFetch(atlas, texel + ivec2(0, 1), 0) - a);
    b += part.y * (texelFetch(atlas, texel + ivec2(1, 1), 0) - b);
    rgb += (a + part.x * (b - a)).rgb;
  }
  if (view == 3) rgb = vec3(uv - 1.0 + vec2(2 * pixel + 1) / float(F), 128.5 / 127.5 - 1.0);
  float alpha = view == 0 ? clamp(field(5, tap, weight), 0.0, 1.0) : 1.0;
  colour = vec4(floor(clamp((rgb + 1.0) * 127.5, 0.0, 255.0)), floor(alpha * 255.0 + 0.5)) / 255.0;
}`;

function rendererOf(gl: WebGL2RenderingContext): string {
  const info = gl.getExtension("WEBGL_debug_renderer_info");
  return String(gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
}

export class WebglSampler implements Sampler {
  readonly kind = "webgl2";
  readonly lost: Promise<void>;
  #view: View = "frame";
  #planes: Float32Array | null = null;

  private constructor(
    private readonly gl: WebGL2RenderingContext,
    private readonly program: WebGLProgram,
    readonly canvas: HTMLCanvasElement,
    private readonly size: number, // S
  ) {
    this.lost = new Promise((lose) => canvas.addEventListener("webglcontextlost", () => lose(), { once: true }));
  }

  /** Null where there is no WebGL 2, or, unless `software` is allowed, only an emulated one. */
  static open(bundle: Bundle, software = false): WebglSampler | null {
    const canvas = frameCanvas(bundle);
    const gl = canvas.getContext("webgl2", {
      alpha: true, premultipliedAlpha: false, antialias: false, depth: false, preserveDrawingBuffer: true,
      failIfMajorPerformanceCaveat: !software,
    }); // prettier-ignore
    const { texture_size: T, image_size: S, frame_size: F } = bundle.contract;
    if (!gl || (!software && EMULATED.test(rendererOf(gl)))) return null;
    if (gl.getParameter(gl.MAX_TEXTURE_SIZE) < Math.max(T + PADDING, S)) return null;
    const program = gl.createProgram();
    for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]] as const) {
      const shader = gl.createShader(type)!;
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return null;
    gl.useProgram(program);
    const nearest = (target: number, unit: number) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(target, gl.createTexture());
      gl.texParameteri(target, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
      gl.texParameteri(target, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    };
    nearest(gl.TEXTURE_2D, 0);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, T + PADDING, T + PADDING, 0, gl.RGBA, gl.FLOAT, bundle.texture);
    nearest(gl.TEXTURE_2D_ARRAY, 1);
    gl.texStorage3D(gl.TEXTURE_2D_ARRAY, 1, gl.R32F, S, S, PLANES);
    const { scale, origin } = geometry(bundle);
    const place = (name: string) => gl.getUniformLocation(program, name);
    for (const [name, value] of Object.entries({ atlas: 0, fields: 1, S, F })) gl.uniform1i(place(name), value);
    for (const [name, value] of Object.entries({ scale, origin, limit: T + 1 })) gl.uniform1f(place(name), value);
    gl.viewport(0, 0, F, F);
    return new WebglSampler(gl, program, canvas, S);
  }

  lay({ left, top, width, height, texels }: Patch): void {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, left, top, width, height, gl.RGBA, gl.FLOAT, texels);
    gl.activeTexture(gl.TEXTURE1); // the fields', which `draw` writes
  }

  draw(planes: Float32Array, view: View = "frame"): void {
    const { gl, size } = this;
    [this.#planes, this.#view] = [planes, view];
    gl.uniform1i(gl.getUniformLocation(this.program, "view"), VIEWS.indexOf(view));
    gl.texSubImage3D(gl.TEXTURE_2D_ARRAY, 0, 0, 0, 0, size, size, PLANES, gl.RED, gl.FLOAT, planes);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  async read(): Promise<Uint8ClampedArray> {
    const { gl, canvas } = this;
    if (this.#planes) this.draw(this.#planes, this.#view);
    const row = canvas.width * 4;
    const flipped = new Uint8Array(row * canvas.height);
    gl.readPixels(0, 0, canvas.width, canvas.height, gl.RGBA, gl.UNSIGNED_BYTE, flipped);
    const bytes = new Uint8ClampedArray(flipped.length);
    for (let i = 0; i < canvas.height; i++) bytes.set(flipped.subarray(i * row, (i + 1) * row), (canvas.height - 1 - i) * row);
    return bytes;
  }

  dispose(): void {
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}
