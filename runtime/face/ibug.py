"""The 68 landmarks of iBUG (300-W): how many there are, and which are what. It loads no library.

"Right" and "left" are the person's own: point 0 is the right ear, on the left of an unmirrored picture.
"""

NUM_LANDMARKS = 68
POSE_WIDTH = 2 * NUM_LANDMARKS  # numbers of a pose: x0, y0, x1, y1, ...

RIGHT_EAR, NOSE_BRIDGE, LEFT_EAR = 0, 27, 16
BROWS = (slice(17, 22), slice(22, 27))  # the right one first
RIGHT_EYE, LEFT_EYE = slice(36, 42), slice(42, 48)
EYES = (RIGHT_EYE, LEFT_EYE)
BOTH_EYES = slice(36, 48)
EYE_CORNERS = ((36, 39), (42, 45))  # of each eye, from the person's right
RIGHT_EYE_CORNER, LEFT_EYE_CORNER = 36, 45  # the outer ones, as 300-W measures its errors
MOUTH = slice(48, 68)
MOUTH_CORNERS = (48, 54)
OUTER_LIPS, INNER_LIPS = slice(48, 60), slice(60, 68)
