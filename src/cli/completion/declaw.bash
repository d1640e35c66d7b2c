# SPDX-License-Identifier: Apache-2.0
# bash completion of declaw
_declaw() {
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words=
	COMPREPLY=()
	case $before in
	--network | --api-key-file | --policy | --targets)
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	--snapshot)
		mapfile -t COMPREPLY < <(compgen -W "$(declaw snapshot ls -q 2> /dev/null)" -- "$word")
		return
		;;
	--sandbox)
		mapfile -t COMPREPLY < <(compgen -W "$(declaw sandbox list -q 2> /dev/null)" -- "$word")
		return
		;;
	esac
	if ((COMP_CWORD == 1)); then
		words="sandbox files network snapshot template volume key policy --help --version"
	elif ((COMP_CWORD == 2)); then
		case ${COMP_WORDS[1]} in
		sandbox) words="create list info exec connect pause resume snapshot snapshots restore kill --help" ;;
		files) words="cp cat ls rm --help" ;;
		network) words="get set allow deny log suggest --help" ;;
		snapshot) words="ls rm --help" ;;
		template) words="build import debian ls info rm --help" ;;
		volume) words="create ls info download snapshot commit rm --help" ;;
		key) words="create list revoke --help" ;;
		policy) words="check --help" ;;
		esac
	elif [[ $word == -* ]]; then
		case "${COMP_WORDS[1]} ${COMP_WORDS[2]}" in
		"sandbox create") words="--template --snapshot --timeout --allow --deny --network --env --metadata --volume --on-timeout --auto-resume --json --url --domain --api-key-file --help" ;;
		"sandbox list") words="--state --metadata -q --json --url --domain --api-key-file --help" ;;
		"sandbox info") words="--json --url --domain --api-key-file --help" ;;
		"sandbox exec") words="-i --user --cwd --env --timeout --json --url --domain --api-key-file --help" ;;
		"sandbox connect") words="--user --cwd --env --timeout --url --domain --api-key-file --help" ;;
		"sandbox pause") words="--json --url --domain --api-key-file --help" ;;
		"sandbox resume") words="--json --url --domain --api-key-file --help" ;;
		"sandbox snapshot") words="--json --url --domain --api-key-file --help" ;;
		"sandbox snapshots") words="-q --json --url --domain --api-key-file --help" ;;
		"sandbox restore") words="--snapshot --json --url --domain --api-key-file --help" ;;
		"sandbox kill") words="--wait --json --url --domain --api-key-file --help" ;;
		"files cp") words="-q --user --json --url --domain --api-key-file --help" ;;
		"files cat") words="--user --url --domain --api-key-file --help" ;;
		"files ls") words="-l --user --json --url --domain --api-key-file --help" ;;
		"files rm") words="-r --user --json --url --domain --api-key-file --help" ;;
		"network get") words="--json --url --domain --api-key-file --help" ;;
		"network set") words="--generation --json --url --domain --api-key-file --help" ;;
		"network allow") words="--remove --generation --json --url --domain --api-key-file --help" ;;
		"network deny") words="--remove --generation --json --url --domain --api-key-file --help" ;;
		"network log") words="--follow --verdict --would --reason --proto --name --addr --port --since --until --limit --before --json --url --domain --api-key-file --help" ;;
		"network suggest") words="--policy --json --url --domain --api-key-file --help" ;;
		"snapshot ls") words="--sandbox -q --json --url --domain --api-key-file --help" ;;
		"snapshot rm") words="--json --url --domain --api-key-file --help" ;;
		"template build") words="--alias -f --base --run --apt --env --start --ready --allow --deny --cpus --memory --disk --background -q --json --url --domain --api-key-file --help" ;;
		"template import") words="--alias --tag --cpus --memory --disk --background -q --json --url --domain --api-key-file --help" ;;
		"template debian") words="--alias --suite --package --mirror --start --ready --allow --deny --cpus --memory --disk --background -q --json --url --domain --api-key-file --help" ;;
		"template ls") words="-q --json --url --domain --api-key-file --help" ;;
		"template info") words="--json --url --domain --api-key-file --help" ;;
		"template rm") words="--json --url --domain --api-key-file --help" ;;
		"volume create") words="-q --json --url --domain --api-key-file --help" ;;
		"volume ls") words="-q --json --url --domain --api-key-file --help" ;;
		"volume info") words="--json --url --domain --api-key-file --help" ;;
		"volume download") words="-q --url --domain --api-key-file --help" ;;
		"volume snapshot") words="--name --json --url --domain --api-key-file --help" ;;
		"volume commit") words="--name --json --url --domain --api-key-file --help" ;;
		"volume rm") words="--json --url --domain --api-key-file --help" ;;
		"key create") words="--name --owner --data --json --help" ;;
		"key list") words="--owner --data --json --help" ;;
		"key revoke") words="--data --json --help" ;;
		"policy check") words="--policy --allow --deny --default-egress --resolve --host --allow-private --targets --json --verbose --help" ;;
		esac
	else
		case "${COMP_WORDS[1]} ${COMP_WORDS[2]}" in
		"sandbox create" | "sandbox list" | key* | policy*) ;;
		"snapshot rm") words=$(declaw snapshot ls -q 2> /dev/null) ;;
		"template info" | "template rm") words=$(declaw template ls -q 2> /dev/null) ;;
		"volume info" | "volume rm" | "volume download") words=$(declaw volume ls -q 2> /dev/null) ;;
		"volume commit")
			if ((COMP_CWORD == 3)); then
				words=$(declaw sandbox list -q 2> /dev/null)
			else
				words=$(declaw volume ls -q 2> /dev/null)
			fi
			;;
		sandbox* | network*) words=$(declaw sandbox list -q 2> /dev/null) ;;
		files* | "volume snapshot")
			words=$(declaw sandbox list -q 2> /dev/null)
			words=${words:+${words//$'\n'/: }:}
			;;
		esac
		case "${COMP_WORDS[1]} ${COMP_WORDS[2]}" in
		"files cp" | "network set" | "template import" | "volume create" | "volume download" | policy*) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
		esac
	fi
	local found
	while IFS= read -r found; do
		COMPREPLY+=("$found")
	done < <(compgen -W "$words" -- "$word")
}
complete -o filenames -F _declaw declaw
