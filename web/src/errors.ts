/** Something that was given cannot be used: one line that names it, what was expected and found, and the way out. */
export class InputError extends Error {
  override name = "InputError";
}

/** An avatar that is damaged, incomplete or of another version. */
export class BundleError extends InputError {
  override name = "BundleError";
}

/** Landmarks of the wrong count, shape or range. */
export class LandmarkError extends InputError {
  override name = "LandmarkError";
}
