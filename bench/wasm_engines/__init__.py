"""What runs packages of `--emit wasm`: a folder and arrays go in, arrays come out.

`engine` says what an engine is, `table` lists them; `module` reads and calls a module by its exports alone, `browser` steers a
Chromium.
"""
