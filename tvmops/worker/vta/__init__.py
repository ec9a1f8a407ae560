"""VTA, TVM's open accelerator: its simulator in this process, or an FPGA behind an RPC server.

TVM releases up to 0.18 carry VTA's Python, and the hardware repository (the submodule 3rdparty/vta-hw) carries the
simulator. Neither is in any wheel, so both are named by their path. What of TVM itself VTA needs, 0.19 still has.

settings.py   what a workload and a host may say       tree.py         what must be in the trees, and their identity
hardware.py   the accelerator's geometry               simulator.py    compiling the simulator, once
environment.py  VTA's Python, loaded once a process    packing.py      quantize, pack, build
counters.py   what the simulator counted               boards.py       running: simulator and FPGA
address.py    where the FPGA's RPC server is
"""
