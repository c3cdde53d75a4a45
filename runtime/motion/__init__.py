"""Where poses come from: landmark tracks, drivers, retargeting."""
