#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Runs FreeBSD's test scripts case by case, with pairs of either kind.
#
#	case.sh list SCRIPT ANSWER
#	case.sh run KIND ENVIRONMENT SCRIPT CASE SECONDS ANSWER
#
# KIND is epair or wpair: which one a script gets that asks for an epair(4). ENVIRONMENT
# is host, or jail for what kyua(1) runs in a jail with a network stack of its own
# (execenv in the script's Makefile). ANSWER is a file to be written: the cases, one a
# line; or the case's result, and after it the end of what it said.

HERE=$(dirname "$0")
SCRATCH=${CASE_SCRATCH:-/tmp/case}
LOG=${SCRATCH}/log
RESULT=${SCRATCH}/result
JAIL=system-test
# The configuration of the test suite, as kyua.conf(5) would have it.
export ATF_CONFIG_fibs="1 2 3" ATF_CONFIG_allow_sysctl_side_effects=1
export ATF_CONFIG_unprivileged_user=nobody

# Reads the script in this shell.
script()
{
	ATF_SRCDIR=$(dirname "$1") ATF_RESULT=${RESULT} ATF_SCRATCH=${SCRATCH}
	. "${HERE}/atf.subr"
	. "$1"
}

# What a script says to ifconfig(8) and jexec(8), with the kind of pair that is tested.
# Interfaces have the names that ifconfig gave, so only those that are asked for change.
as_wpair()
{
	ifconfig()
	{
		case $1 in
		epair|epair[0-9]*)
			local _name=wpair${1#epair}
			shift
			set -- "${_name}" "$@" ;;
		esac
		command ifconfig "$@"
	}
	jexec()
	{
		local _jail=$1
		shift
		case "$1 $2" in
		"ifconfig epair"*)
			local _name=wpair${2#epair}
			shift 2
			set -- ifconfig "${_name}" "$@" ;;
		esac
		command jexec "${_jail}" "$@"
	}
}

# Why the case cannot be run here, if so, by what its head says.
lacking()
{
	local _name

	for _name in $(atf_get require.progs); do
		command -v ${_name} > /dev/null || echo "needs ${_name}"
	done
	for _name in $(atf_get require.kmods); do
		kldstat -q -n ${_name} || kldstat -q -m ${_name} || echo "needs ${_name}.ko"
	done
}

# A program that a case calls without having said so.
missing()
{
	sed -nE \
	    -e 's/^(.*: )?([^: ]+): not found$/needs \2/p' \
	    -e 's/^(env|jexec): (execvp: )?([^: ]+): No such file or directory$/needs \3/p' \
	    "$1" | head -n 1
}

# part NAME KIND SCRIPT CASE: the body or the cleanup, in a shell of its own.
part()
{
	script "$3"
	[ $2 = epair ] || as_wpair
	$4_head
	cd "${SCRATCH}/work"
	case $1 in
	body)
		# Of several results the last one counts, as in atf-sh.
		if $4_body; then
			atf_pass
		fi
		atf_fail "the body returned another status than 0" ;;
	cleanup)
		$4_cleanup ;;
	esac
}

# Runs a part within its time; what it started ends with it if it takes longer.
bounded()
{
	local _seconds=$1
	shift
	timeout -k 5 ${_seconds} "$@" < /dev/null >> ${LOG} 2>&1
}

list()
{
	script "$1"
	atf_init_test_cases
	for name in ${ATF_CASES}; do
		echo ${name}
	done
}

run()
{
	local _kind=$1 _environment=$2 _script=$3 _case=$4 _seconds=$5 _why _status

	_why=$(script "${_script}"; ${_case}_head; lacking | head -n 1)
	if [ -n "${_why}" ]; then
		echo "skipped: ${_why}"
		return
	fi
	if [ ${_environment} = jail ]; then
		jail -qc name=${JAIL} persist vnet children.max=64 path=/ \
		    allow.raw_sockets allow.read_msgbuf
	fi
	bounded ${_seconds} $(place ${_environment}) \
	    sh "$0" part body ${_kind} "${_script}" ${_case}
	_status=$?
	[ ${_status} -ne 124 ] || echo "failed: took longer than ${_seconds} s" >> ${RESULT}
	[ -s ${RESULT} ] || echo "failed: ended by itself with status ${_status}" >> ${RESULT}
	echo "cleanup:" >> ${LOG}
	bounded ${_seconds} $(place ${_environment}) \
	    sh "$0" part cleanup ${_kind} "${_script}" ${_case}
	[ ${_environment} != jail ] || jail -qr ${JAIL} >> ${LOG} 2>&1
	verdict
}

# The prefix that puts a command into its environment.
place()
{
	[ $1 != jail ] || echo "jexec ${JAIL}"
}

verdict()
{
	local _result _why

	_result=$(tail -n 1 ${RESULT})
	case ${_result} in
	failed:*)
		_why=$(sed '/^cleanup:$/,$d' ${LOG} > ${SCRATCH}/body; missing ${SCRATCH}/body)
		[ -z "${_why}" ] || _result="skipped: ${_why}" ;;
	esac
	echo "${_result}"
}

case $1 in
list)
	list "$2" > "$3" ;;
run)
	rm -rf ${SCRATCH}
	mkdir -p ${SCRATCH}/work
	: > ${LOG} > ${RESULT}
	run $2 $3 "$4" $5 $6 > "$7" 2>> ${LOG}
	tail -n 60 ${LOG} | cut -c 1-300 >> "$7" ;;
part)
	shift
	part "$@" ;;
esac
