# Debian's installer on the serial console, until it has asked a question and taken an answer.
mkfifo keys
exec 3<>keys
start installer <keys
hear 'Choose the language to be used'
echo "installer: languages"
# Its screen takes no keys before it is drawn.
hear 'activates buttons'
printf '\r' >&3
hear 'Select your location'
kill -9 "$pid"
wait "$pid"
echo "installer: locations"
