"""C{openclaw completion}."""

import os
import subprocess

from test.cli.support import CommandTestCase


class CompletionTests(CommandTestCase):
    def test_scripts(self) -> None:
        for shell, text in (
            ("bash", "complete -o nosort -F"),
            ("zsh", "#compdef openclaw"),
            ("fish", "complete --no-files"),
        ):
            self.assertEqual(self.run_command("completion", shell), 0)
            self.assertIn(text, self.out)
            self.assertIn("_OPENCLAW_COMPLETE", self.out)
        self.assertEqual(self.run_command("completion", "csh"), 2)

    def test_help_can_be_pasted(self) -> None:
        self.run_command("completion", "--help")
        self.assertIn('  eval "$(openclaw completion bash)"   # in ~/.bashrc\n', self.out)

    def test_bash_can_read_it(self) -> None:
        self.run_command("completion", "bash")
        done = subprocess.run(["bash", "-n"], input=self.out, text=True, capture_output=True, timeout=30, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_completes(self) -> None:
        for words, expected in (("openclaw gateway pr", "plain,probe"), ("openclaw sta", "plain,status")):
            os.environ.update(_OPENCLAW_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(words.count(" ")))
            self.assertEqual(self.run_command(), 0)
            self.assertEqual(self.out.strip(), expected)
