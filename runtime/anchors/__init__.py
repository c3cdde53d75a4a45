"""Landmark anchors: the warp is moved so that an avatar's landmarks come to lie where the pose has them."""
