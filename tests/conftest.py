"""Shape annotations are checked at run time under test: a wrong shape anywhere inside the package fails."""

from jaxtyping import install_import_hook

install_import_hook("patchmosaic", "beartype.beartype").__enter__()
