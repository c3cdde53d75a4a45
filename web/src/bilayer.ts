/** The avatar for one's own page: docs/web.md. */

export { WarpMover } from "./anchors";
export { Avatar, type AvatarOptions, loadAvatar } from "./avatar";
export { type Bundle, fromFiles, fromUrl, type ReadFile, readBundle, readTexture } from "./bundle";
export { checkContract, type Contract, readContract } from "./contract";
export { BundleError, InputError, LandmarkError } from "./errors";
export { FaceTracker } from "./face/tracker";
export { tfliteToOnnx } from "./face/to_onnx";
export { CYCLE, DemoMotion } from "./motion/demo";
export { faceBox, type Problem, problems } from "./motion/quality";
export { type Gains, type Mode, Retargeter } from "./motion/retarget";
export { latencyMs, OneEuro, PoseSmoother } from "./motion/smoothing";
export { LidPainter, type Patch, shutEyes } from "./lids";
export { gather } from "./outputs";
export { type Engine, loadRuntime, type Runtime, type RuntimeOptions } from "./runtime";
export { encodePose } from "./pose";
export { externalData } from "./protobuf";
export { compose } from "./sampler/cpu";
export { openSampler, type SamplerKind, type View, VIEWS } from "./sampler/sampler";
export { plainSha256 } from "./sha256";
