"""The launch scripts: sound bash, and with stand-ins for the scheduler's programs, what they start
and what they do about signals."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "scripts").glob("*.sh"))

# Each writes its arguments, and the GPUs it sees, into a file of its name.
NOTE = '#!/bin/bash\necho "gpus=${CUDA_VISIBLE_DEVICES-all} $*" >>"$NOTES/$(basename "$0")"\n'
SRUN = NOTE + 'while [[ "$1" == --* ]]; do shift; done\n"$@"\n'
HOSTS = NOTE + '[ "$1" = show ] && printf "one\\ntwo\\n"\nexit 0\n'
TRAP = '#!/bin/bash\ntrap "sleep 0.3; exit 143" TERM\n'  # before the note, which tests wait for
WAITS = TRAP + NOTE + "for _ in $(seq 200); do sleep 0.05; done\n"
SIGNALLED_TWICE = NOTE + '[ "$(wc -l <"$NOTES/python")" -gt 2 ] || kill -TERM $$\nexit 3\n'


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound_bash(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text(encoding="utf-8")
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in text


class Launch:
    """A folder with programs that stand in for the real ones, and what they noted."""

    def __init__(self, folder: Path, programs: dict[str, str]) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        (folder / "notes").mkdir()
        for name, text in programs.items():
            program = folder / "bin" / name
            program.write_text(text)
            program.chmod(0o755)

    def start(self, script: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "VENV": str(self.folder),
            "NOTES": str(self.folder / "notes"),
            "SLURM_SUBMIT_DIR": str(ROOT),
            **variables,
        }
        command = ["bash", str(ROOT / "scripts" / script), *arguments]
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def notes(self, program: str) -> list[str]:
        path = self.folder / "notes" / program
        return path.read_text().splitlines() if path.exists() else []


SLURM = {
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_GPUS_ON_NODE": "4",
    "SLURM_JOB_NODELIST": "[one,two]",
    "SLURM_JOB_ID": "17",
}


def slurm(folder: Path, trainer: str) -> Launch:
    programs = {"srun": SRUN, "scontrol": HOSTS, "ray": NOTE}
    return Launch(folder, programs | {"python": trainer, "accelerate": trainer})


def test_slurm_shares_out_the_gpus_and_passes_the_exit_code_on(tmp_path: Path) -> None:
    launch = slurm(tmp_path, NOTE + "exit 3\n")
    options = ["config.yaml", "--set", "run.seed=1"]
    process = launch.start("slurm.sh", *options, LEARNERS="2", LAYOUT="fsdp2", **SLURM)
    process.communicate(timeout=30)
    assert process.returncode == 3
    (trainer,) = launch.notes("accelerate")
    assert trainer.startswith("gpus=0,1 launch --config_file configs/accelerate/fsdp2.yaml ")
    assert "--num_processes 2 " in trainer
    assert "train --config config.yaml --resume --set self_play.backend=ray" in trainer
    assert "self_play.gpus=1 --set self_play.actors=6 --set run.seed=1" in trainer
    started = [note for note in launch.notes("ray") if " start " in note]
    assert "gpus=2,3 start --head --block --port=6379" in started
    assert "gpus=all start --address=one:6379 --block" in started
    assert not any("requeue" in note for note in launch.notes("scontrol"))


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_slurm_requeues_once_the_checkpoint_stands(tmp_path: Path, number: int) -> None:
    launch = slurm(tmp_path, WAITS)
    process = launch.start("slurm.sh", "config.yaml", **SLURM)
    end = time.monotonic() + 20
    while not launch.notes("python"):
        assert time.monotonic() < end
        time.sleep(0.02)
    begun = time.monotonic()
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert time.monotonic() - begun > 0.25  # it waited for the trainer
    assert any(note.endswith("requeue 17") for note in launch.notes("scontrol"))


def test_slurm_refuses_learners_that_leave_no_gpu(tmp_path: Path) -> None:
    launch = slurm(tmp_path, NOTE)
    variables = SLURM | {"SLURM_JOB_NUM_NODES": "1", "LEARNERS": "4"}
    process = launch.start("slurm.sh", "config.yaml", **variables)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "leave no GPU" in output
    assert not launch.notes("accelerate")


def test_resume_tries_again_after_a_signal_alone(tmp_path: Path) -> None:
    launch = Launch(tmp_path, {"python": SIGNALLED_TWICE})
    process = launch.start("resume.sh", "config.yaml", "--set", "model.lora={rank: 2}")
    process.communicate(timeout=30)
    assert process.returncode == 3
    tries = launch.notes("python")
    assert len(tries) == 3
    assert tries[0].endswith("train --config config.yaml --resume --set model.lora={rank: 2}")


def test_resume_gives_up_after_so_many_tries(tmp_path: Path) -> None:
    launch = Launch(tmp_path, {"python": NOTE + "kill -KILL $$\n"})
    process = launch.start("resume.sh", "config.yaml", TRIES="2")
    process.communicate(timeout=30)
    assert process.returncode == 137
    assert len(launch.notes("python")) == 2


def test_a_job_is_submitted_with_its_options(tmp_path: Path) -> None:
    launch = Launch(tmp_path, {"ray": NOTE})
    process = launch.start("ray_job.sh", "config.yaml", "--set", "self_play.actors=2", GPUS="1")
    process.communicate(timeout=30)
    assert process.returncode == 0
    (note,) = launch.notes("ray")
    assert "job submit --address http://127.0.0.1:8265 --working-dir ." in note
    assert "--entrypoint-num-gpus 1 -- bash scripts/resume.sh config.yaml" in note
    assert note.endswith("--set self_play.backend=ray --set self_play.actors=2")
