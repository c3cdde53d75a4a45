"""Ways onto the phone: the vendor's tools, ncnn, LiteRT, ExecuTorch."""
