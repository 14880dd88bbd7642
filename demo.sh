#!/bin/sh
# The commands that a user would type, one after the other: sample photos, a model, what it says and why.
set -eu

run() {
    printf '\n\033[1m$ %s\033[0m\n' "$*"
    "$@"
}

run manyeyes samples food -o demo/photos
run manyeyes fit demo/photos -o demo/model
run manyeyes evaluate demo/model demo/photos
run manyeyes predict demo/model --explain \
    demo/photos/test/pizza/1152100.jpg \
    demo/photos/test/pizza/309892.jpg \
    demo/photos/test/steak/1868005.jpg \
    demo/photos/test/sushi/1230335.jpg \
    demo/photos/test/sushi/2715127.jpg
printf '\nThe model lies in demo/model. Now your own photos, one folder for each class:\n'
printf '    manyeyes fit PHOTOS -o model\n'
