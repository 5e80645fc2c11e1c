"""lamina completion: how does a shell complete the command line?"""

from __future__ import annotations

import argparse

from ..parser import OK

SUMMARY = "a script that makes a shell complete commands and options"
EXAMPLES = """
eval "$(lamina completion bash)"                      in ~/.bashrc
eval "$(lamina completion zsh)"                       in ~/.zshrc, after compinit
lamina completion fish > ~/.config/fish/completions/lamina.fish
"""
SHELLS = ("bash", "zsh", "fish")


def configure(parser) -> None:
    """The arguments of the command."""
    parser.add_argument("shell", choices=SHELLS)


def run(arguments, console) -> int:
    """Print the script of one shell."""
    from ..parser import make_parser
    script = {"bash": bash, "zsh": zsh, "fish": fish}[arguments.shell](words(make_parser()))
    if console.json:
        console.result("completion", {"shell": arguments.shell, "script": script})
    else:
        console.print(script.rstrip("\n"))
    return OK


def words(parser: argparse.ArgumentParser) -> dict[str, dict]:
    """For each command its help, its options (with their choices), and the choices of its first argument; "" is the whole line."""
    commands = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    helps = {choice.dest: choice.help or "" for choice in commands._choices_actions}
    found = {"": describe(parser, "")}
    for name, sub in commands.choices.items():
        found[name] = describe(sub, helps.get(name, ""))
    return found


def describe(parser: argparse.ArgumentParser, help: str) -> dict:
    """The options of one parser as {"--stage": {"help", "choices", "takes"}} and what its positional arguments may be."""
    options, choices, takes_file = {}, [], False
    for action in parser._actions:
        for option in action.option_strings:
            options[option] = {"help": (action.help or "").replace("%%", "%"), "choices": list(map(str, action.choices or ())),
                               "takes": action.nargs != 0}
        if not action.option_strings and not isinstance(action, argparse._SubParsersAction):
            choices += map(str, action.choices or ())
            takes_file = takes_file or not action.choices
    return {"help": help, "options": options, "choices": choices, "takes_file": takes_file}


def bash(commands: dict[str, dict]) -> str:
    """The script for bash (programmable completion, bash manual 8.6)."""
    cases = []
    for name, command in commands.items():
        if not name:
            continue
        values = "".join(f"        {option}) COMPREPLY=($(compgen -W '{' '.join(o['choices'])}' -- \"$cur\")); return ;;\n"
                         for option, o in command["options"].items() if o["choices"])
        choice = f"      case \"$prev\" in\n{values}      esac\n" if values else ""
        cases.append(f"    {name})\n{choice}      words='{' '.join([*command['options'], *command['choices']])}' ;;\n")
    names = " ".join(n for n in commands if n)
    return ("_lamina() {\n  local cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\" command='' words='' word\n"
            "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n    case \"$word\" in -*) ;; *) command=\"$word\"; break ;; esac\n  done\n"
            f"  case \"$command\" in\n    '') words='{names} {' '.join(commands['']['options'])}' ;;\n{''.join(cases)}  esac\n"
            "  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
            "  if [[ -n \"$command\" && \"$cur\" != -* ]]; then COMPREPLY+=($(compgen -f -- \"$cur\")); fi\n}\n"
            "complete -o filenames -F _lamina lamina\n")


def zsh(commands: dict[str, dict]) -> str:
    """The script for zsh (completion system, zshcompsys)."""
    def spec(text: str) -> str:
        return text.replace("\\", "\\\\").replace("'", "'\\''").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
    listed = "\n".join(f"    '{n}:{spec(c['help'])}'" for n, c in commands.items() if n)
    cases = []
    for name, command in commands.items():
        if not name:
            continue
        lines = []
        for option, o in command["options"].items():
            value = f":value:({' '.join(o['choices'])})" if o["choices"] else ":value:_files" if o["takes"] else ""
            lines.append(f"'*{option}[{spec(o['help'])}]{value}'")
        lines.append(f"'1:what:({' '.join(command['choices'])})'" if command["choices"] else "'*:file:_files'")
        cases.append(f"    {name}) _arguments " + " \\\n      ".join(lines) + " ;;\n")
    return ("#compdef lamina\n_lamina() {\n  local -a commands\n  commands=(\n" + listed + "\n  )\n"
            "  if (( CURRENT == 2 )); then _describe command commands; return; fi\n"
            "  local command=$words[2]; shift words; (( CURRENT-- ))\n  case $command in\n" + "".join(cases) + "  esac\n}\n"
            "compdef _lamina lamina\n")


def fish(commands: dict[str, dict]) -> str:
    """The script for fish (`complete`, fish manual)."""
    def quoted(text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    lines = []
    for name, command in commands.items():
        if name:
            lines.append(f"complete -c lamina -n __fish_use_subcommand -f -a {name} -d {quoted(command['help'])}")
        condition = f"-n '__fish_seen_subcommand_from {name}'" if name else "-n __fish_use_subcommand"
        for option, o in command["options"].items():
            flag = f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
            value = f" -x -a {quoted(' '.join(o['choices']))}" if o["choices"] else " -r" if o["takes"] else ""
            lines.append(f"complete -c lamina {condition} {flag}{value} -d {quoted(o['help'])}")
        if command["choices"]:
            lines.append(f"complete -c lamina {condition} -f -a {quoted(' '.join(command['choices']))}")
    return "\n".join(lines) + "\n"
