"""An avatar that does what the face in a video does: `python examples/drive_from_video.py out driver.mp4 avatar.mp4`.

Needs `pip install 'bilayer[video]'`. The first frame with a face is the reference: there the driver should look as the
photo does. `bilayer-render` searches the whole video for a better one.
"""

import sys

import bilayer
from bilayer.runtime import MediapipeLandmarker, Retargeter, VideoFrames, open_writer


def main(bundle: str, driver: str, out: str) -> None:
    """Write the video `out`; frames without a face are left out."""
    avatar = bilayer.load_avatar(bundle, background=(255, 255, 255))
    landmarker = MediapipeLandmarker()
    retarget = Retargeter(avatar.source_pose)  # the driver's motion, the avatar's own proportions
    face = None
    with VideoFrames(driver) as pictures, open_writer(out, pictures.rate) as writer:
        for picture in pictures:  # (H, W, 3)
            face = landmarker.track(picture, face)
            if face is not None:
                writer.write(avatar.render(retarget.pose(face.landmarks)))  # (S, S, 4)


if __name__ == "__main__":
    main(*sys.argv[1:])
