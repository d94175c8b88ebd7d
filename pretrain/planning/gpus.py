"""What GPUs can do by their vendor's data sheets: the only numbers of a plan that are not computed.

Rates are peaks, without sparsity, and one way: NVLink is sold by the sum of both ways. ``network`` is what the
vendor's own server gives each GPU towards other servers. A data sheet's GB are taken for 10^9 bytes.
"""

from dataclasses import dataclass

from hanlm.errors import ConfigError
from pretrain.gpu_peaks import PEAK_TFLOPS


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One kind of GPU."""

    name: str
    memory_gb: float
    """Memory, in 10^9 bytes."""
    bf16_tflops: float
    """Dense bf16 products summed in fp32, in 10^12 operations a second."""
    memory_gb_per_second: float
    """Rate of its memory."""
    link_gb_per_second: float
    """Rate to another GPU of the same server, one way."""
    network_gb_per_second: float
    """Rate to another server, one way."""
    source: str


_PCIE = "no NVLink: PCIe 4.0 x16; network of one 100 Gb/s card for two GPUs assumed"

GPUS = (
    Gpu(
        name="a100-40",
        memory_gb=40,
        bf16_tflops=PEAK_TFLOPS["A100"],
        memory_gb_per_second=1555,
        link_gb_per_second=300,
        network_gb_per_second=25,
        source="NVIDIA A100 Tensor Core GPU data sheet (SXM, 40 GB); DGX A100 data sheet: 8 x 200 Gb/s",
    ),
    Gpu(
        name="a100",
        memory_gb=80,
        bf16_tflops=PEAK_TFLOPS["A100"],
        memory_gb_per_second=2039,
        link_gb_per_second=300,
        network_gb_per_second=25,
        source="NVIDIA A100 Tensor Core GPU data sheet (SXM, 80 GB); DGX A100 data sheet: 8 x 200 Gb/s",
    ),
    Gpu(
        name="a800",
        memory_gb=80,
        bf16_tflops=PEAK_TFLOPS["A800"],
        memory_gb_per_second=2039,
        link_gb_per_second=200,
        network_gb_per_second=25,
        source="NVIDIA A800 data sheet (SXM): an A100 with NVLink of 400 GB/s; network as in a DGX A100",
    ),
    Gpu(
        name="h100",
        memory_gb=80,
        bf16_tflops=PEAK_TFLOPS["H100"],
        memory_gb_per_second=3350,
        link_gb_per_second=450,
        network_gb_per_second=50,
        source="NVIDIA H100 Tensor Core GPU data sheet (SXM); DGX H100 data sheet: 8 x 400 Gb/s",
    ),
    Gpu(
        name="h800",
        memory_gb=80,
        bf16_tflops=PEAK_TFLOPS["H800"],
        memory_gb_per_second=3350,
        link_gb_per_second=200,
        network_gb_per_second=50,
        source="NVIDIA H800 data sheet (SXM): an H100 with NVLink of 400 GB/s; network as in a DGX H100",
    ),
    Gpu(
        name="h20",
        memory_gb=96,
        bf16_tflops=PEAK_TFLOPS["H20"],
        memory_gb_per_second=4000,
        link_gb_per_second=450,
        network_gb_per_second=50,
        source="NVIDIA H20 data sheet; network as in a DGX H100",
    ),
    Gpu(
        name="h200",
        memory_gb=141,
        bf16_tflops=PEAK_TFLOPS["H200"],
        memory_gb_per_second=4800,
        link_gb_per_second=450,
        network_gb_per_second=50,
        source="NVIDIA H200 Tensor Core GPU data sheet (SXM); DGX H200 data sheet: 8 x 400 Gb/s",
    ),
    Gpu(
        name="b200",
        memory_gb=180,
        bf16_tflops=PEAK_TFLOPS["B200"],
        memory_gb_per_second=8000,
        link_gb_per_second=900,
        network_gb_per_second=50,
        source="NVIDIA DGX B200 data sheet (an eighth of 1,440 GB, 64 TB/s, 14.4 TB/s); 8 x 400 Gb/s",
    ),
    Gpu(
        name="l40s",
        memory_gb=48,
        bf16_tflops=PEAK_TFLOPS["L40S"],
        memory_gb_per_second=864,
        link_gb_per_second=32,
        network_gb_per_second=6.25,
        source=f"NVIDIA L40S data sheet; {_PCIE}",
    ),
    Gpu(
        name="rtx4090",
        memory_gb=24,
        bf16_tflops=PEAK_TFLOPS["RTX 4090"],
        memory_gb_per_second=1008,
        link_gb_per_second=32,
        network_gb_per_second=6.25,
        source=f"NVIDIA Ada GPU Architecture whitepaper (GeForce RTX 4090); {_PCIE}",
    ),
    Gpu(
        name="rtx3090",
        memory_gb=24,
        bf16_tflops=PEAK_TFLOPS["RTX 3090"],
        memory_gb_per_second=936,
        link_gb_per_second=32,
        network_gb_per_second=6.25,
        source=f"NVIDIA Ampere GA102 GPU Architecture whitepaper (GeForce RTX 3090, bf16 with fp32 sums); {_PCIE}",
    ),
)


def find_gpu(name: str) -> Gpu:
    """Return the GPU of a name.

    Raises:
        ConfigError: Lists the names there are.
    """
    for gpu in GPUS:
        if gpu.name == name.lower():
            return gpu
    raise ConfigError(
        f"--gpu {name} is not in the table; expected one of {', '.join(g.name for g in GPUS)}, or the nearest of them "
        "with --gpu-memory-gb and --gpu-tflops of yours."
    )
