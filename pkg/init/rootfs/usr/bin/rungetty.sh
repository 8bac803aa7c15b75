#!/bin/sh
# shellcheck shell=dash
#
# A login on every console that the kernel's command line names, for as long as the machine runs.

consoles=
read -r cmdline < /proc/cmdline
for word in $cmdline; do
    case $word in
        console=*)
            tty=${word#console=}
            tty=${tty%%,*}
            # tty0 is whichever screen is shown; a login needs one of its own.
            [ "$tty" != tty0 ] || tty=tty1
            case " $consoles " in
                *" $tty "*) ;;
                *) consoles="$consoles $tty" ;;
            esac
            ;;
    esac
done

for tty in $consoles; do
    # A name may be for another kind of machine.
    [ -c "/dev/$tty" ] || continue
    (
        while [ ! -e /run/eve/stopping ]; do
            setsid getty -L 0 "$tty" vt100
            sleep 1
        done
    ) &
done
