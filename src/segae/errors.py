"""What segae raises. Every error is also a ``ValueError`` and names the argument, what came and the fix."""

from __future__ import annotations


class SegaeError(ValueError):
    """Base of all errors that segae raises on purpose."""


class VolumeError(SegaeError):
    """An image, mask or labelmap that cannot be used: unreadable, wrong shape, wrong values, no spacing."""


class GridMismatchError(VolumeError):
    """Image and mask do not lie on the same voxel grid."""


class UnknownStructureError(SegaeError):
    """A structure's name that is not in the registry, or one that fits several structures."""


class ModelFileError(SegaeError):
    """A model file that is missing, damaged or not made for segae."""


class DeviceError(SegaeError):
    """A device that was asked for and cannot be had."""


class ParameterError(SegaeError):
    """Any other argument outside what it may be."""


class UnreachableError(ParameterError):
    """A target Dice that an error cannot meet on this mask."""


class NotCTWarning(UserWarning):
    """A score was predicted for an image whose values are not those of CT in HU (the flag `not_ct`)."""


class OrientationWarning(UserWarning):
    """A file does not say which way its axes run, or says it twice; one way was assumed (`orientation_assumed`)."""


class AuditError(SegaeError):
    """An audit that cannot start or go on: its folder is in use, the disk is full, the dataset is gone or not one."""
