"""What published two-class averages say about the classes they average."""

from __future__ import annotations

from math import nan, sqrt

from eolab.core.errors import ParameterError


def implied_f1(macro_f1: float, mean_iou: float) -> float:
    """Return the F1 of the weaker of two classes that their macro F1 and mean IoU imply together.

    With M the macro F1, J the mean IoU and the F1 of both classes M + d and M − d, the IoU of a
    class being F1 / (2 − F1):

        (M + d) / (2 − M − d) + (M − d) / (2 − M + d) = 2 J

    Let a = 2 − M and multiply by (a − d)(a + d): the left side is (M + d)(a + d) + (M − d)(a − d) =
    2 (M a + d²), the right side 2 J (a² − d²), so

        d² = a (J a − M) / (1 + J).

    The lower of the two scores is that of the rare class; the other one is 2 M − result. For M = 0.7463 and
    J = 0.6597 d is 0.247: the F1 of the rare class is 0.499 and that of the other 0.993. If the two numbers
    were those of one class instead, J would be M / (2 − M) = 0.595.

    Args:
        macro_f1: Mean F1 of both classes, 0 to 1.
        mean_iou: Mean IoU of both classes, 0 to 1.

    Returns:
        0 to 1; NaN where no two scores between 0 and 1 have both means.

    Raises:
        ParameterError: If a score is not between 0 and 1.
    """
    for name, value in (("macro_f1", macro_f1), ("mean_iou", mean_iou)):
        if not 0 <= value <= 1:
            raise ParameterError(f"{name} is {value}: expected a score of 0 to 1, not in percent.")
    a = 2 - macro_f1
    square = a * (mean_iou * a - macro_f1) / (1 + mean_iou)
    if square < -1e-12:
        return nan
    d = sqrt(max(square, 0.0))
    return macro_f1 - d if d <= macro_f1 and macro_f1 + d <= 1 + 1e-12 else nan
