"""What each vertex of a head belongs to."""

# Labels of HeadModel.part, in the order of ICT-FaceKit's geometry table.
FACE, HEAD, MOUTH_SOCKET, GUMS, TEETH, SCLERA_LEFT, IRIS_LEFT, SCLERA_RIGHT, IRIS_RIGHT = range(9)
EYES_BY_SIDE = (SCLERA_LEFT, SCLERA_RIGHT)
