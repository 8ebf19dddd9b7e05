"""x86-64-v3 with AVX-VNNI: Intel since Alder Lake (2021), whose client processors have no AVX-512."""

from dataclasses import replace

from sparsec.targets.x86_64_v3 import TARGET as V3

TARGET = replace(V3, name="x86-64-v3-vnni", requires=(*V3.requires, "avxvnni"))
