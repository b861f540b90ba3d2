"""A transposed convolution of two inputs as if they were concatenated, which they are not."""

from torch import Tensor, nn
from torch.nn import functional as F


class UpConvolution(nn.ConvTranspose2d):
    """The sum of two transposed convolutions, each with its share of the weight: nothing is copied, and an input
    without a gradient, as a frozen encoder's features are, costs none.

    Where the patches that pixels are turned into do not overlap, it is a product of matrices. Parameters and results
    are those of nn.ConvTranspose2d on torch.cat([x, skip], dim=1).
    """

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """(N, C, H, W) of x (N, A, h, w) and, where A is less than the layer's input channels, the rest of them."""
        if self.kernel_size == self.stride and self.padding == (0, 0):
            return self._in_place(self.patches(x, skip))
        of_x, of_skip = self.weight.tensor_split([x.shape[1]])
        raised = self._convolved(x, of_x, self.bias)
        return raised if skip is None else raised + self._convolved(skip, of_skip)

    def patches(self, x: Tensor, skip: Tensor | None = None, by_channel: bool = False) -> Tensor:
        """(N, h, w, k²C): what each pixel is turned into, row by row, or, `by_channel`, channel by channel."""
        area = self.kernel_size[0] * self.kernel_size[1]
        weight_PA = self.weight.permute(*(1, 2, 3, 0) if by_channel else (2, 3, 1, 0)).reshape(-1, self.in_channels)
        of_x, of_skip = weight_PA.tensor_split([x.shape[1]], dim=1)
        assert self.bias is not None
        bias = self.bias.repeat_interleave(area) if by_channel else self.bias.repeat(area)
        made = F.linear(x.permute(0, 2, 3, 1), of_x, bias)
        return made if skip is None else made + F.linear(skip.permute(0, 2, 3, 1), of_skip)

    def _convolved(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        assert isinstance(self.padding, tuple)
        return F.conv_transpose2d(x, weight, bias, self.stride, self.padding)

    def _in_place(self, patches_NhwP: Tensor) -> Tensor:
        n, h, w, _ = patches_NhwP.shape
        (rows, columns), channels = self.kernel_size, self.out_channels
        lines = patches_NhwP.view(n, h, w, rows, columns * channels).transpose(2, 3)
        return lines.reshape(n, h * rows, w * columns, channels).permute(0, 3, 1, 2)
