#!/bin/sh
# SPDX-License-Identifier: MIT
# test_insn.sh ANYKVM - anykvm insn: exit status and answers for valid, truncated and
# undefined bytes, bad hexadecimal, JSON, files and execution.
anykvm=$1
bad=0

check() { # NAME STATUS PATTERN ARGUMENT...
	name=$1 status=$2 pattern=$3; shift 3
	out=$("$anykvm" insn "$@" 2>&1 </dev/null); got=$?
	if [ $got -eq "$status" ] && printf '%s\n' "$out" | grep -q -- "$pattern"; then
		echo "PASS: $name"
	else
		echo "FAIL: $name: status $got, not $status, or no '$pattern' in:"
		printf '%s\n' "$out"
		bad=1
	fi
}

check valid 0 '^text *mov rax, ' '48 8b 04 25 00 10 00 00'
check operands 0 '^operands *Gv(8,w) Ev(8,r)' '48 8b 04 25 00 10 00 00'
check intercept 0 '^vmx_exit *0xa$' '0f a2'
check truncated 1 '^result *truncated' '48 8b 04'
check undefined 1 '^result *undefined' '0f 0a 00'
check bad-lock 1 'LOCK is not allowed' 'f0 90'
check too-long 1 'longer than 15' '66 66 66 66 66 66 66 66 66 66 66 66 66 66 66 90'
check mode 1 '^result *undefined' --mode 64 '27'
check mode-16 0 '^opsize *0x2$' --mode 16 '01 d8'
check bad-hex 2 'hexadecimal' '48 8'
check not-hex 2 'hexadecimal' 'mov'
check bad-mode 2 '16, 32 or 64' --mode 48 '90'
check no-bytes 2 'wants hexadecimal'
check help 0 'Exit status' --help
check json 0 '^{"result":"valid",.*"mnemonic":"add".*}$' --json '01 d8'
check json-undefined 1 '^{"result":"undefined",.*}$' --json '0f 0a 00'
check run 0 '^rax *1 -> 3 (both)' --run '48 01 d8' rax=1 rbx=2
check run-memory 0 '^rax *0 -> 44332211 (both)' --run '8b 07' rdi=20004000 mem=20004000:11223344
check run-fault 0 '^host *fault 0' --run 'f7 f3'
check run-32 0 '^rax *a -> 10 (both)' --mode 32 --run '27' rax=a
check run-16 0 '^rax *0 -> 1234 ' --mode 16 --run '8b 47 10' rbx=4000 mem=20004010:3412
check absent 0 '^emulated *no: #UD' '0f 01 d5'
check no-file 2 'anykvm: /nonexistent: No such' --file /nonexistent
check run-elsewhere 0 'not executed' --run '8b 07' rdi=7000000000
check run-bad 2 'not REG=HEX' --run '90' foo=1

loop='48 03 04 cb 49 89 c6 ff c9 75 f5 f4'
check translate 0 '^20001000 *48 03 04 cb *add rax' --translate "$loop"
check translate-last 0 '^2000100b *f4 *hlt' --translate "$loop"
check translate-same 0 '^ *[0-9a-f]*  ff c9 *dec ecx' --translate "$loop"
check translate-first 0 'first turns' --translate '48 03 07 48 ff c9 75 f8 f4'
check translate-tlb 0 '\[.*; tlb.tag\[0\]' --translate "$loop"
check translate-gpr 0 '\[.*; c.gpr\[14\]' --translate "$loop"
check translate-flags 0 '\[.*; jit.flags' --translate "$loop"
check translate-request 0 '\[.*; request' --translate "$loop"
check translate-stub 0 'jmp .*; kept_end$' --translate "$loop"
check translate-slow 0 '^out of line, for 20001000' --translate "$loop"
check translate-end 0 "^the block's end, on to 20001003" --translate '48 89 d8'
check translate-totals 0 '^guest_bytes *0xc$' --translate "$loop"
check translate-blocks 0 '^blocks *0x2$' --translate 'c3 90'
check translate-json 0 '"kind":"insn","block":1,"rip":"20001000","bytes":"48 89 d8","text":"mov rax, rbx","host":\[{' \
	--json --translate '48 89 d8'
check translate-page 0 '^guest_bytes *0x1000$' --translate "$(printf '%8192s' | tr ' ' 9 | sed 's/99/90/g')"
check translate-begin 0 '^20001002  48 89 d8' --begin 2 --translate '90 90 48 89 d8'
check translate-begin-none 2 'Invalid argument' --begin 5 --translate '90 90 48 89 d8'
check translate-begin-negative 2 'Invalid argument' --begin -1 --translate '90 90'
check translate-truncated 1 '^result *truncated' --translate '90 48 8b 04'
check translate-undefined 1 '^bytes_read *0x3' --translate '90 90 06'
check translate-json-bad 1 '^{"result":"undefined",.*}$' --json --translate '90 06'
check translate-32 2 'only 64-bit code is translated' --mode 32 --translate '90'
check translate-16 2 'only 64-bit code is translated' --translate --mode 16 '90'
check translate-run 2 'two commands' --run --translate '90'
check translate-setting 2 'settings are for --run' --translate '90' rax=1
check translate-bad-hex 2 'hexadecimal' --translate '9'
check translate-help 0 '--translate' --help

# Every host byte is shown once: the listing's add up to the total.
if "$anykvm" insn --json --translate "$loop c3 f3 a4 d9 e8 e8 00 00 00 00" | python3 -c '
import json, sys
d = json.load(sys.stdin)
lines = [h for p in d["translation"] for h in p["host"]]
assert sum(len(h["bytes"].split()) for h in lines) == d["host_bytes"] > 100
assert not any("(bad)" in h["text"] for h in lines)
guest = [p["bytes"] for p in d["translation"] if p["kind"] == "insn"]
assert sum(len(g.split()) for g in guest) == d["guest_bytes"] == 22
assert d["blocks"] == 3'; then
	echo "PASS: translate-whole"
else
	echo "FAIL: translate-whole"; bad=1
fi

if printf '48 01 d8' | "$anykvm" insn - | grep -q 'add rax, rbx'; then
	echo "PASS: stdin"
else
	echo "FAIL: stdin"; bad=1
fi
exit $bad
