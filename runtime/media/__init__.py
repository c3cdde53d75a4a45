"""Photos and videos in, videos and pictures out."""
