(** What the single steps of a derivation demand suffices: bounds pass from values to the values made of them. *)

From Coq Require Import Arith ZArith QArith Qreals List Bool Lia Reals Lra Psatz.
From Lipverify Require Import Sums Vectors Lipschitz Residual Activations Maps Norms Certificate Runs.
Import ListNotations.
Open Scope R_scope.

Local Notation norm := Vectors.norm.

Section TwoRuns.
  Variables (I : interpretation) (g : graph) (begin : nat) (env env' : nat -> vec).
  Hypothesis first_run : run I g begin env.
  Hypothesis second_run : run I g begin env'.

  Local Notation diff := (difference env env').
  Let diff_linear := diff_linear I g begin env env' first_run second_run.
  Let diff_pointwise := diff_pointwise I g begin env env' first_run second_run.

  (** ** Bounds of values: norms of differences, as multiples of that of the input *)

  Let input_norm : R := norm (size g begin) (diff begin).

  Definition in_norm (v : nat) (u : Q) : Prop :=
    0 <= Q2R u /\ norm (size g v) (diff v) <= Q2R u * input_norm.
  Definition in_entries (v : nat) (u : Q) : Prop :=
    0 <= Q2R u /\ forall i, (i < size g v)%nat -> Rabs (diff v i) <= Q2R u * input_norm.

  Lemma input_norm_nonneg : 0 <= input_norm.
  Proof. apply norm_nonneg. Qed.

  Lemma size_made v m rs : node_at g v = Some (Node m rs) -> size g v = made m.
  Proof. intros here. unfold size. destruct v; [discriminate | rewrite here; reflexivity]. Qed.

  Lemma norm_ext n x y : (forall i, (i < n)%nat -> x i = y i) -> norm n x = norm n y.
  Proof. intros same. unfold norm. f_equal. apply square_ext, same. Qed.

  Lemma entry_norm n x i : (i < n)%nat -> Rabs (x i) <= norm n x.
  Proof.
    intros below. apply Rsqr_incr_0_var; [|apply norm_nonneg].
    rewrite <- Rsqr_abs, (Rsqr_pow2 (norm n x)), norm_square. apply square_entry, below.
  Qed.

  (** s b^2 <= u^2 in norms. *)
  Lemma root_step s b u x y :
    0 <= u -> 0 <= b -> s * (b * b) <= u * u -> 0 <= x -> 0 <= y -> y <= b * input_norm ->
    x ^ 2 <= s * y ^ 2 -> x <= u * input_norm.
  Proof.
    intros Hu Hb below Hx Hy known image. pose proof input_norm_nonneg as positive.
    destruct (Rle_or_lt 0 s) as [nonneg|negative].
    - apply Rsqr_incr_0_var; [|nra]. unfold Rsqr.
      assert (y * y <= b * input_norm * (b * input_norm)) by nra.
      assert (s * (y * y) <= s * (b * input_norm * (b * input_norm))) by (apply Rmult_le_compat_l; assumption).
      assert (s * (b * b) * (input_norm * input_norm) <= u * u * (input_norm * input_norm))
        by (apply Rmult_le_compat_r; nra).
      nra.
    - assert (x = 0) as -> by nra. nra.
  Qed.

  Lemma affine_sound v l r n e b u :
    node_at g v = Some (Node (Linear l) [r]) -> v <> begin -> columns l = size g r ->
    proves l e n = true -> in_norm r b -> 0 <= Q2R u -> Q2R n * (Q2R b * Q2R b) <= Q2R u * Q2R u -> in_norm v u.
  Proof.
    intros here other fits shown [Hb known] Hu below. split; [exact Hu|].
    apply proves_sound in shown. rewrite (size_made v _ _ here). cbn [made].
    rewrite (norm_ext _ _ (apply (columns l) (matrix l) (diff r))) by (intros; apply diff_linear; assumption).
    apply (root_step (Q2R n) (Q2R b) (Q2R u) _ (norm (size g r) (diff r))); auto using norm_nonneg.
    rewrite !norm_square, <- fits. apply shown.
  Qed.

  Lemma rows_sound v l r n b u :
    node_at g v = Some (Node (Linear l) [r]) -> v <> begin -> columns l = size g r ->
    rows_prove l n = true -> in_norm r b -> 0 <= Q2R u -> Q2R n * (Q2R b * Q2R b) <= Q2R u * Q2R u -> in_entries v u.
  Proof.
    intros here other fits shown [Hb known] Hu below. split; [exact Hu|]. intros i inside.
    rewrite (size_made v _ _ here) in inside. cbn [made] in inside. rewrite (diff_linear v l r i here other inside).
    apply (root_step (Q2R n) (Q2R b) (Q2R u) _ (norm (size g r) (diff r))); auto using norm_nonneg, Rabs_pos.
    rewrite norm_square, pow2_abs, <- fits. eapply Rle_trans; [apply cauchy_schwarz|].
    apply Rmult_le_compat_r; [apply square_nonneg|]. apply rows_prove_sound; assumption.
  Qed.

  Lemma copying_sound v out inner source r b u :
    node_at g v = Some (Node (Linear (Copying out inner source)) [r]) -> v <> begin -> inner = size g r ->
    in_entries r b -> 0 <= Q2R u -> Q2R b <= Q2R u -> in_entries v u.
  Proof.
    intros here other fits [Hb known] Hu below. split; [exact Hu|]. intros i inside.
    pose proof input_norm_nonneg.
    rewrite (size_made v _ _ here) in inside. rewrite (diff_linear v _ r i here other inside).
    cbn [columns shape snd]. unfold apply, dot, matrix. cbn [entry scale].
    destruct (source i) as [k|].
    - destruct (Nat.lt_ge_cases k inner) as [small|large].
      + rewrite (sum_only inner _ k small).
        * rewrite Nat.eqb_refl. simpl. rewrite !Rmult_1_l.
          specialize (known k). rewrite <- fits in known. specialize (known small). nra.
        * intros j _ different. destruct (Nat.eqb_spec k j); [congruence | ring].
      + rewrite sum_zero; [rewrite Rabs_R0; nra|]. intros j inside_j.
        destruct (Nat.eqb_spec k j); [lia | ring].
    - rewrite sum_zero; [rewrite Rabs_R0; nra|]. intros j _. ring.
  Qed.

  Lemma slope_small low high t : Q2R low <= t <= Q2R high -> Rabs t <= Q2R (steepest low high).
  Proof.
    intros between. pose proof (steepest_above low high) as [Hl Hh]. apply Rabs_between in Hl, Hh. apply Rabs_le. lra.
  Qed.

  Lemma pointwise_sound v a low high n r b u :
    node_at g v = Some (Node (Pointwise a low high n) [r]) -> v <> begin -> n = size g r ->
    Qle_bool low (fst (known_slopes a)) = true -> Qle_bool (snd (known_slopes a)) high = true ->
    in_norm r b -> 0 <= Q2R u -> Q2R (steepest low high) * Q2R b <= Q2R u -> in_norm v u.
  Proof.
    intros here other fits below above [Hb known] Hu enough. split; [exact Hu|].
    destruct (diff_pointwise v a low high n r here other below above) as [t each].
    rewrite (size_made v _ _ here). cbn [made]. pose proof input_norm_nonneg. set (c := Q2R (steepest low high)) in *.
    assert (0 <= c) as positive by (pose proof (steepest_above low high) as [Hl _]; fold c in Hl; pose proof (Rabs_pos (Q2R low)); lra).
    apply Rle_trans with (c * norm n (diff r)).
    - apply norm_le; [exact positive|]. unfold square, dot. rewrite <- sum_scal. apply sum_le; intros i inside.
      destruct (each i inside) as [between ->]. pose proof (slope_small low high (t i) between) as small.
      fold c in small. apply Rabs_between in small. assert (t i ^ 2 <= c ^ 2) by nra.
      pose proof (Rle_0_sqr (diff r i)). unfold Rsqr in *. nra.
    - rewrite <- fits in known. apply Rle_trans with (c * (Q2R b * input_norm)); [apply Rmult_le_compat_l; assumption | nra].
  Qed.

  Lemma pointwise_entries_sound v a low high n r b u :
    node_at g v = Some (Node (Pointwise a low high n) [r]) -> v <> begin -> n = size g r ->
    Qle_bool low (fst (known_slopes a)) = true -> Qle_bool (snd (known_slopes a)) high = true ->
    in_entries r b -> 0 <= Q2R u -> Q2R (steepest low high) * Q2R b <= Q2R u -> in_entries v u.
  Proof.
    intros here other fits below above [Hb known] Hu enough. split; [exact Hu|]. intros i inside.
    destruct (diff_pointwise v a low high n r here other below above) as [t each].
    rewrite (size_made v _ _ here) in inside. cbn [made] in inside. pose proof input_norm_nonneg.
    destruct (each i inside) as [between ->]. pose proof (slope_small low high (t i) between) as small.
    rewrite Rabs_mult. rewrite fits in inside. specialize (known i inside).
    pose proof (Rabs_pos (t i)). pose proof (Rabs_pos (diff r i)).
    apply Rle_trans with (Q2R (steepest low high) * (Q2R b * input_norm)); [|nra].
    apply Rmult_le_compat; assumption.
  Qed.

  Definition all_known (l : list (nat * Q)) (P : nat -> Q -> Prop) : Prop := forall v u, In (v, u) l -> P v u.

  Lemma known_in v l u : known v l = Some u -> In (v, u) l.
  Proof.
    unfold known. destruct (find _ l) as [[w c]|] eqn:found; [|discriminate]. intros same. injection same as <-.
    apply find_some in found as [inside here]. cbn in here. apply Nat.eqb_eq in here. subst w. exact inside.
  Qed.

  Lemma signed_sum_bound n l vs : all_known l in_norm -> forall signs b, known_sum g n vs l = Some b ->
    0 <= Q2R b /\ norm n (signed_sum signs (List.map diff vs)) <= Q2R b * input_norm.
  Proof.
    intros invariant. pose proof input_norm_nonneg. assert (norm n vzero = 0) as zero.
    { unfold norm. rewrite square_zero; [apply sqrt_0 | reflexivity]. }
    induction vs as [|v vs IH]; intros signs b found; cbn [known_sum] in found.
    - injection found as <-. rewrite RMicromega.Q2R_0. split; [lra|].
      rewrite (norm_ext n _ vzero); [lra | intros i _; destruct signs; reflexivity].
    - destruct (known v l) as [c|] eqn:here; [|discriminate].
      destruct (known_sum g n vs l) as [d|]; [|discriminate].
      destruct (size g v =? n) eqn:fits; [|discriminate]. injection found as <-. apply Nat.eqb_eq in fits.
      destruct (invariant v c (known_in v l c here)) as [Hc Hv]. rewrite fits in Hv. rewrite Q2R_plus.
      destruct (IH (tl signs) d eq_refl) as [Hd rest]. split; [lra|].
      destruct signs as [|plus signs].
      + rewrite (norm_ext n _ vzero); [rewrite zero; nra | intros i _; reflexivity].
      + cbn [tl] in rest.
        rewrite (norm_ext n _ (vplus (vscal (if plus then 1 else -1) (diff v)) (signed_sum signs (List.map diff vs)))).
        * eapply Rle_trans; [apply norm_triangle|]. rewrite norm_scal.
          assert (Rabs (if plus then 1 else -1) = 1) as ->
            by (destruct plus; unfold Rabs; destruct (Rcase_abs _); lra). lra.
        * intros i _. unfold vplus, vscal. cbn. destruct plus; ring.
  Qed.

  Lemma signed_sum_minus signs vs i :
    signed_sum signs (List.map env vs) i - signed_sum signs (List.map env' vs) i = signed_sum signs (List.map diff vs) i.
  Proof.
    revert vs. induction signs as [|plus signs IH]; intros [|v vs]; cbn; try ring.
    rewrite <- IH. unfold difference, vminus. destruct plus; ring.
  Qed.

  Lemma diff_sum v signs n vs i :
    node_at g v = Some (Node (Certificate.Sum signs n) vs) -> v <> begin -> (i < n)%nat ->
    diff v i = signed_sum signs (List.map diff vs) i.
  Proof.
    intros here other inside. rewrite <- signed_sum_minus.
    pose proof (first_run v _ here other) as one. pose proof (second_run v _ here other) as two.
    unfold agrees in one, two. cbn [map_of reads] in one, two.
    unfold difference, vminus. rewrite (one i inside), (two i inside). reflexivity.
  Qed.
End TwoRuns.
