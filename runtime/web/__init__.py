"""The avatar in a browser: the page, what it needs beside it, and a server for this machine."""
