from .identity import FaceRecogniser as FaceRecogniser
from .identity import csim as csim
from .landmarks import nme as nme
from .lpips import load_lpips as load_lpips
from .meter import Meter as Meter
from .pictures import l1 as l1
from .pictures import psnr as psnr
from .pictures import ssim as ssim
