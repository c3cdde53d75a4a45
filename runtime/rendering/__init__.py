"""A motion drawn by an avatar: into files, a window, a camera, or back into the photo."""
