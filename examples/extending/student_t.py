"""A likelihood of your own: Student's t with one number of degrees of freedom, for data with outliers.

vaekit train table.csv --parts student_t.py:PARTS --set model.likelihood=heavy-tailed
vaekit evaluate runs/table --parts student_t.py:PARTS
"""

from torch import Tensor
from torch.distributions import Distribution, StudentT

from vaekit.likelihoods.base import Likelihood


class HeavyTailed(Likelihood):
    """x_i ~ Student's t of `df` degrees of freedom, its location and the logarithm of its scale from the decoder."""

    domains = ("real",)

    def __init__(self, event_shape: tuple[int, ...], domain: object, df: float = 4.0) -> None:
        super().__init__(event_shape, domain, parameters=2)
        self.df = df

    def forward(self, parameters: Tensor) -> Distribution:
        loc, log_scale = self.split(parameters)
        return self.scaled(StudentT(self.df, loc, log_scale.clamp(-5, 5).exp(), validate_args=False))


PARTS = {"likelihoods": {"heavy-tailed": HeavyTailed}}
