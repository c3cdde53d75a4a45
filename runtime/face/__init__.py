"""Faces in a photo: the finders, 68 landmarks, the crop around them, the person mask."""
