"""Shape annotations are checked at run time under test: a wrong shape anywhere inside the package fails."""

import os

import torch
from jaxtyping import install_import_hook

install_import_hook("patchmosaic", "beartype.beartype").__enter__()

# Without a GPU its kernel runs in Triton's interpreter, which is chosen when Triton is imported, by whichever test is first.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
