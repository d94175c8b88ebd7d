"""What GPUs can do at most, which both a plan and the metrics of a run count with."""

from collections.abc import Mapping

PEAK_TFLOPS: Mapping[str, float] = {
    "B200": 2250.0,
    "H200": 989.4,
    "H100 PCIe": 756.0,
    "H100": 989.4,
    "H800": 989.4,
    "H20": 148.0,
    "A100": 312.0,
    "A800": 312.0,
    "A10G": 70.0,
    "A10": 125.0,
    "A30": 165.0,
    "A40": 149.7,
    "L40S": 362.0,
    "L40": 181.0,
    "L4": 121.0,
    "RTX 4090": 165.2,
    "RTX 3090": 71.0,
    "RTX A6000": 154.8,
}
"""Dense bf16 with fp32 sums, from the makers' data sheets, by a word of the device's name; the longer names first."""
