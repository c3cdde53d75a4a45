"""The default landmarker: MediaPipe's detector and face mesh, run by LiteRT, without the mediapipe package."""

from dataclasses import dataclass

from bilayer.runtime.arrays import Bytes
from bilayer.runtime.face.detector import Detection, FaceDetector, best_of_each
from bilayer.runtime.face.found import Face, largest_first
from bilayer.runtime.face.mesh import FaceMesh
from bilayer.runtime.face.region import MARGIN, Region, region_of_landmarks

MIN_PRESENCE = 0.9  # below it the mesh was fitted to something else: 0.04 on false finds, 1.00 on faces


@dataclass(frozen=True)
class Search:
    """One stage of the search for faces; the next one is tried only where it finds none."""

    long_sides: tuple[int, ...]  # px, what the photo is shrunk to before it is looked at in windows of 128
    least_score: float  # of the detector's last, upright look at a find


# The more windows, the more they find that is none. Of 245 false finds in 100 pictures of other things the mesh
# too took one, a motor's round lid, for a face, at scores up to 0.82; 68 views of small faces scored 0.87 or more.
SEARCHES = (
    Search((128, 171), 0.65),  # the whole photo, and 2 x 2 windows over it
    Search((341,), 0.85),  # 4 x 4
    Search((683,), 0.85),  # 8 x 8: faces from 2 % of the photo's width on
)


class MediapipeLandmarker:
    """Faces with 68 landmarks; keeps both networks loaded. Not for use by several threads at once.

    Raises:
        ToolMissingError: ai-edge-litert or the network files are not there; the message says how to get them.
    """

    def __init__(self) -> None:
        self._detector = FaceDetector()
        self._mesh = FaceMesh()

    def find(self, photo: Bytes) -> list[Face]:
        """Return all faces of `photo` (H, W, 3) RGB at any angle, the largest first."""
        for search in SEARCHES:
            if search is not SEARCHES[0] and 2 * max(search.long_sides) > max(photo.shape):
                break  # faces that small have too few pixels in this photo
            finds = [find for side in search.long_sides for find in self._detector.search(photo, side)]
            upright = [self._detector.turn_upright(photo, find) for find in best_of_each(finds)]
            sure = best_of_each([find for find in upright if find and find.score >= search.least_score])
            faces = [face for find in sure if (face := self._fit(photo, find))]
            if faces:
                return largest_first(faces)
        return []

    def track(self, frame: Bytes, previous: Face | None) -> Face | None:
        """Return the face of a video's next frame: looked for where it was, and everywhere if it is not there.

        Follows moves of up to half the distance between the eyes; a tenth of the time of `find`. None where the
        frame shows no face.
        """
        if previous is not None:
            face = self._fit_in(frame, region_of_landmarks(previous.landmarks))
            if face is not None:
                return face
        faces = self.find(frame)
        return faces[0] if faces else None

    def _fit(self, photo: Bytes, find: Detection) -> Face | None:
        """The mesh twice: the detector's box is rough, the first mesh says where exactly to look."""
        rough, _ = self._mesh.find(photo, find.region)
        return self._fit_in(photo, region_of_landmarks(rough))

    def _fit_in(self, photo: Bytes, region: Region) -> Face | None:
        landmarks, presence = self._mesh.find(photo, region)
        if presence < MIN_PRESENCE:
            return None
        half = region.side / MARGIN / 2
        box = (region.x - half, region.y - half, region.x + half, region.y + half)
        return Face(landmarks, presence, box)
