#!/bin/bash
# A Slurm cluster of this one machine, run by the present user from a folder of its own: to try suites and to test them.
#
#     eval "$(scripts/local_slurm.sh start DIR)"    brings it up; sbatch, squeue, sinfo and `superinfo bench
#                                                   SUITE --executor slurm` then speak to it
#     scripts/local_slurm.sh stop DIR               ends its jobs and its daemons
#
# Needs Debian's packages slurmctld, slurmd, slurm-client and munge (`apt-get install -y slurmctld slurmd slurm-client
# munge`; written for 22.05), neither systemd nor root. DIR holds configuration, key, state and logs; a cluster started
# again in the same DIR knows its finished jobs. It keeps no accounts: read states by squeue, which shows a job for
# MinJobAge seconds after its end.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
PATIENCE=60 # seconds: for the node to come up, for jobs to end, and for daemons

main() {
    [[ $# -eq 2 && $1 =~ ^(start|stop)$ ]] || refuse "usage: local_slurm.sh start|stop DIR"
    for program in slurmctld slurmd munged sbatch scontrol; do
        command -v "$program" >/dev/null ||
            refuse "$program: not here; apt-get install -y slurmctld slurmd slurm-client munge"
    done
    DIR=$(realpath -m "$2")
    export SLURM_CONF=$DIR/slurm.conf
    "$1"
}

start() {
    # A Unix socket's path has at most 107 characters.
    [[ ${#DIR} -le 90 && $DIR =~ ^[[:alnum:]/._+-]+$ ]] || refuse "$DIR: choose a shorter path of letters, digits and ._+-"
    nothing_runs || refuse "$DIR: a cluster runs here already; stop it first"
    mkdir -p "$DIR"/{state,spool,log,bin,profile}
    chmod 700 "$DIR"
    configure
    serve_snakemake
    [[ -s $DIR/munge.key ]] || (umask 077 && head -c 1024 /dev/urandom >"$DIR/munge.key")
    if ! { start_munged && start_slurmctld && start_slurmd && wait_until node_is_idle; }; then
        stop
        tail -n 5 "$DIR"/log/*.log >&2
        refuse "$DIR: no cluster came up; the ends of its logs are above"
    fi
    echo "export SLURM_CONF=$SLURM_CONF SNAKEMAKE_PROFILE=$DIR/profile PATH=$DIR/bin:\$PATH"
}

stop() {
    if running slurmctld && running slurmd; then
        scancel --me || true
        wait_until no_job_runs || true
    fi
    wait_until ended || refuse "$DIR: its daemons did not end in $PATIENCE s; see $DIR/log"
}

start_munged() { # --force: it warns of a socket's folder that is closed to other users, and refuses it otherwise
    munged --force --socket="$DIR/munge.socket" --key-file="$DIR/munge.key" --pid-file="$DIR/munged.pid" \
        --log-file="$DIR/log/munged.log" --seed-file="$DIR/state/munge.seed" 2>>"$DIR/log/munged.log"
}

start_slurmctld() { # it returns before its daemon has said its number, without which that could not be stopped
    slurmctld 2>>"$DIR/log/slurmctld.log" && wait_until slurmctld_runs
}

slurmctld_runs() { running slurmctld; }

start_slurmd() { slurmd 2>>"$DIR/log/slurmd.log"; }

configure() {
    local host cores ports
    host=$(hostname -s) # of the node as well: a job's processes meet at the name of its first node
    cores=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc) # which would tell the threads of a program instead
    ports=($(free_ports))
    cat >"$SLURM_CONF" <<END
ClusterName=local
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmdPort=${ports[1]}
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$DIR/munge.socket
StateSaveLocation=$DIR/state
SlurmdSpoolDir=$DIR/spool
SlurmctldPidFile=$DIR/slurmctld.pid
SlurmdPidFile=$DIR/slurmd.pid
SlurmctldLogFile=$DIR/log/slurmctld.log
SlurmdLogFile=$DIR/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
MinJobAge=600
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cores RealMemory=$(free -m | awk '/^Mem:/ {print $2}')
PartitionName=local Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
    # The plugin that version 2 of cgroups is given by itself wants systemd.
    echo "CgroupPlugin=cgroup/v1" >"$DIR/cgroup.conf"
}

serve_snakemake() { # its plugin calls srun without SLURM_CONF, and waits for ever on accounts where there are none
    cat >"$DIR/bin/srun" <<END
#!/bin/sh
SLURM_CONF=$SLURM_CONF exec /usr/bin/srun "\$@"
END
    chmod +x "$DIR/bin/srun"
    cat >"$DIR/profile/config.yaml" <<END
slurm-status-command: squeue
slurm-init-seconds-before-status-checks: 2
seconds-between-status-checks: 2
END
}

free_ports() {
    python3 -c "
import socket
sockets = [socket.socket() for _ in range(2)]
for each in sockets:
    each.bind(('127.0.0.1', 0))
print(*(each.getsockname()[1] for each in sockets))"
}

running() { # this daemon; the number in its pid file may be another program's by now
    local pid
    pid=$(cat "$DIR/$1.pid" 2>/dev/null) || return 1
    awk -v name="$1" '/^Name:/ {same = $2 == name} /^State:/ {ended = $2 == "Z"} END {exit !(same && !ended)}' \
        "/proc/$pid/status" 2>/dev/null
}

node_is_idle() { [[ $(sinfo --noheader --format=%T 2>/dev/null) == idle ]]; }

no_job_runs() { [[ -z $(squeue --noheader --states=PENDING,RUNNING,COMPLETING 2>/dev/null) ]]; }

ended() { # told again and again: a daemon that has just started does not hear it yet
    local daemon
    for daemon in slurmd slurmctld munged; do
        ! running "$daemon" || kill "$(cat "$DIR/$daemon.pid")" 2>/dev/null || true
    done
    nothing_runs
}

nothing_runs() { ! running munged && ! running slurmctld && ! running slurmd; }

wait_until() { # a condition holds; fail after PATIENCE seconds
    local deadline=$((SECONDS + PATIENCE))
    until "$1"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

refuse() {
    echo "local_slurm.sh: $1" >&2
    exit 2
}

main "$@"
