#!/usr/bin/env bash
# ffmpeg: a sound track that starts before the pictures, and that nothing reads, repeats the first picture in raw output.
#
# What: `-ss` with `-c copy` cuts sound exactly but pictures at the next keyframe, so the sound of the cut starts
# earlier. Decoded to raw pictures, the first one comes again and again until the sound's head start is filled. `-an`
# and `-map 0:v` on the decoding side do not help, since the input's start is that of all its streams: only the file
# without its sound (`-an -c copy` beforehand), `setpts=PTS-STARTPTS` before `fps`, or no rate keeping
# (`-fps_mode passthrough`) give each picture once.
#
# Why it matters: loaders of training clips and video models read pictures through a pipe of raw video. A clip that any
# trimming tool made then starts with a still of up to a group of pictures, and counts and times of frames are off.
#
# Source: ffmpeg's manual (-ss, -c copy, -fps_mode, filters fps and setpts), which names no such role of unread streams.
#
# Needs ffmpeg with libx264, 5.1 or newer. Exits 1 if the behaviour changes, 2 if ffmpeg is not there.
set -euo pipefail

command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null || { echo 'needs ffmpeg and ffprobe'; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

run() { ffmpeg -nostdin -v error -y "$@"; }
run -f lavfi -i testsrc2=s=64x64:r=30:d=4 -f lavfi -i sine=d=4 -c:v libx264 -g 60 -c:a aac full.mp4
run -i full.mp4 -ss 1.2 -c copy cut.mp4
run -i cut.mp4 -an -c copy silent.mp4
starts() { ffprobe -v error -select_streams "$1" -show_entries stream=start_time -of csv=p=0 cut.mp4; }

ffmpeg -version | head -n 1
echo "cut.mp4: 60 pictures from $(starts v) s on, sound from $(starts a) s on"

bytes=$((64 * 64 * 3))
status=0
# expect FILE FRAMES REPEATS OPTIONS...: frames in raw output, and how often the first comes at its start
expect() {
  local file=$1 frames=$2 repeats=$3
  shift 3
  run -i "$file" "$@" -pix_fmt rgb24 -f rawvideo out.rgb
  local got_frames=$(($(stat -c %s out.rgb) / bytes)) got_repeats=0
  head -c "$bytes" out.rgb >first.rgb
  while [ "$got_repeats" -lt "$got_frames" ] && cmp -s -i 0:$((got_repeats * bytes)) -n "$bytes" first.rgb out.rgb; do
    got_repeats=$((got_repeats + 1))
  done
  local note=''
  [ "$got_frames $got_repeats" = "$frames $repeats" ] || { note=" CHANGED from $frames and $repeats"; status=1; }
  printf '  %-10s %-40s %s frames, first picture %s times%s\n' "$file" "$*" "$got_frames" "$got_repeats" "$note"
}
echo 'Expected: 48 frames at 24 fps, each picture once.'
expect silent.mp4 48 1 -vf fps=24
expect cut.mp4 67 20 -vf fps=24
expect cut.mp4 67 20 -an -vf fps=24
expect cut.mp4 67 20 -map 0:v -vf fps=24
expect cut.mp4 48 1 -vf setpts=PTS-STARTPTS,fps=24
expect cut.mp4 48 1 -vf fps=24 -fps_mode passthrough
[ "$status" = 0 ] && echo 'As found.' || echo 'Changed.'
exit "$status"
