"""Files other than NIfTI: NRRD, MetaImage, DICOM series, DICOM SEG, RTSTRUCT. Their readers are in the extra `io`.

Nothing of SimpleITK, pydicom or highdicom is imported before such a file is opened.
"""

from segae.containers.kinds import Kind, kind_of
from segae.containers.layers import Layer, is_layered, names_of, only_layer, pick, read_layers
from segae.containers.series import read_container

__all__ = ["Kind", "Layer", "is_layered", "kind_of", "names_of", "only_layer", "pick", "read_container", "read_layers"]
