from ._version import __version__ as __version__
from .api import check as check
from .api import export_avatar as export_avatar
from .api import load_avatar as load_avatar
from .model.checkpoint import load_model as load_model
from .runtime.motion.track import demo_motion as demo_motion
