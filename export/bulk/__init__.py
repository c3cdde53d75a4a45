"""Many photos to many avatars: what `bilayer-export FOLDER` does."""
